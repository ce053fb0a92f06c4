"""The notebook functions under the name that notebooks import: `import lumigator_demo as ld`."""
from lumigrid.lumigator_demo import *  # noqa: F403
from lumigrid.lumigator_demo import __all__  # noqa: F401
