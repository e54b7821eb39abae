"""The offline stage: one portrait to one `.narrate` model, in seconds, once."""
