"""Result records: their schema, reading and writing them, journals for resuming."""
