"""Tables, figures and verdicts, drawn from records."""
