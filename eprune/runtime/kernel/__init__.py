"""What everything in the runtime rests on: actors, FIFOs, fault policies, errors. Imports no other room."""
