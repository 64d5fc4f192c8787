"""The metrics that are attributed and tested, and their units."""

UNITS = {"logit_difference": "logits", "log_probability": "nats", "probability_difference": "probability"}
