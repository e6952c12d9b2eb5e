"""The spine: stages, artefacts, the store and runs. Knows nothing of speech.

Example::

    from orature.flow import Ref, Resources, Run, Stage, StageContext, Store, open_store
"""

from orature.flow.artefact import ArtefactInfo
from orature.flow.context import StageContext
from orature.flow.ref import Ref, Resources
from orature.flow.run import Run
from orature.flow.stage import Stage
from orature.flow.store import Store, open_store

__all__ = ["ArtefactInfo", "Ref", "Resources", "Run", "Stage", "StageContext", "Store", "open_store"]
