"""Does a map hold? See whybox.checks.check."""
