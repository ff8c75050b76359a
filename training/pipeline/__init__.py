"""Pipeline that trains, evaluates and exports the built-in model of Gemma Sidecar."""
