"""Commands of Django: each module has the name of one."""
