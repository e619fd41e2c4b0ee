"""What many records say together: values, grades, groups, and the frame of all scores."""
