"""The recorded files of a run as formats: their schemas, and how they are read, written and recovered."""
