"""What a user sees: text printed letter for letter, without the lines that libraries print."""
