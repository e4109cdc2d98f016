"""An application that changes `runserver`."""
