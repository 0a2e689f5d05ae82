"""Responses of a model to an experiment's problems."""
