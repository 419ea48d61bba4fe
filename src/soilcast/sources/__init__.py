"""The sources: where a cube can come from. To add one, add a file and a line in `SOURCES`."""
