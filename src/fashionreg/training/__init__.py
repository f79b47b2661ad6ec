"""From a configuration to a finished run: options, the fit itself, its loop."""
