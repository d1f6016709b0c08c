"""One way scrambling by deconvolution: what stays inside the organisation, and what it sends to a cloud."""
