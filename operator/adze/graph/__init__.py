"""Pictures of a workflow: as text, as a picture, and in the languages of other tools."""
