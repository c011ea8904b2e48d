"""From a learner's function to a verdict that names the mistake."""
