"""What a run reports: its journal, its record and its status. Imports the kernel."""
