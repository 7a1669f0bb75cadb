"""FIFOs between platforms: the wire protocol, connections, TLS, emulated links. Imports the kernel and tell."""
