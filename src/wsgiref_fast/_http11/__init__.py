"""The parts of the HTTP/1.1 server: its options, its loop, its connections, its log."""
