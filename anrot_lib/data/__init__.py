"""Images: readers, preparation, splits, the search for leaks, episodes, noise, augmentation."""
