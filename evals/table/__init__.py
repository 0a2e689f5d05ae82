"""From runs to the tables of an experiment."""
