"""The network, one idea a file: configuration, rotary positions, latent attention, experts, MTP, the whole."""
