"""Synchronous and cyclo-static dataflow: graphs whose FIFOs have a rate of their own at each end (``--model sdf``)."""
