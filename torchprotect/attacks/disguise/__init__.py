"""Attacks on disguised images, after "Image Disguising" (Sharma, Alam, Chen) and since."""
