"""What a run of the servers has measured, as a page: ``python -m bench.report RESULTS.json``."""
