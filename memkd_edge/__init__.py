"""memkd-edge: distil a large LSTM into a streaming int8 model of a few kilobytes, export it, and measure it on the device."""

__version__ = "0.1.0"
