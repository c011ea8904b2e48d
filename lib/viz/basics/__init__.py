"""Pictures of numbers and maps that every lesson draws with."""
