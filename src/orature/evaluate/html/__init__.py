"""The pieces of the HTML report; everything that comes from data is escaped here, before it meets a tag."""
