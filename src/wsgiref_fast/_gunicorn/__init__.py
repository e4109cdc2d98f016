"""The parts of gunicorn's worker: settings, the loop, and what is done around the application."""
