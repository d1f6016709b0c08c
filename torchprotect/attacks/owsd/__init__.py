"""Attacks on scrambled images, after "One Way Scrambling by Deconvolution" (Savransky et al.) and since."""
