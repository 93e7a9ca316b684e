"""Model files, read without running code that they hold."""
