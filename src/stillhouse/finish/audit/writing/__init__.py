"""The audit of students that write: what they say of themselves, refuse, remember, and prefer, beside their teacher."""
