"""The notebooks' helpers: the list of notebooks, sliders, exercises, and two small trained networks."""
