"""What kinds of trouble an episode is made of. Bias finds more than volume: many tiny and lopsided worlds."""

from dataclasses import dataclass, field

WATCH, NODE, CLOCK = "watch", "node", "clock"


@dataclass(frozen=True, slots=True)
class Profile:
    """The odds of an episode. `weights` share 256 slots of a word's first byte; odds are of 4096."""

    name: str
    replicas: tuple[int, ...] = (1, 2, 2, 3)
    runs: tuple[int, ...] = (1, 1, 2)
    sizes: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    words: int = 500
    weights: dict[str, int] = field(default_factory=dict)
    faulty: int = 160
    freezing: int = 0
    crashing: int = 30
    stripped: bool = False
    queues: bool = False
    """Whether the runs share concurrency keys."""
    rates: bool = False
    """Whether their steps share allowances."""
    cached: bool = False
    """Whether the runs share a cache."""
    large: bool = False
    """Whether steps hand over large outputs."""
    limits: bool = False
    """Whether they are runs of one Workflow, whose limit changes meanwhile."""
    cap: int = 0
    """How many steps a replica lets run at a time."""
    share: int = 1


CALM = {WATCH: 50, NODE: 40, CLOCK: 14}

PROFILES = {
    profile.name: profile
    for profile in (
        # Everything, a little of each.
        Profile(
            "mixed",
            weights={
                **CALM,
                **{"crash": 2, "freeze": 2, "thaw": 4, "relist": 2, "repeat": 2, "lose": 2, "arrive": 3},
                **{"cancel": 1, "suspend": 1, "delete run": 1, "delete pod": 2, "evict": 2, "node fails": 1},
                **{"quota": 2, "reject": 1, "squat": 1, "collect": 4, "create": 1},
            },
            share=4,
        ),
        # Replicas are stopped right after a call, for long, while the others go on: zombies.
        Profile(
            "frosty",
            replicas=(2, 3, 3),
            runs=(1,),
            sizes=(0, 0, 1, 2),
            words=350,
            weights={
                **CALM,
                **{"crash": 2, "thaw": 4, "relist": 2, "arrive": 3, "cancel": 1, "delete pod": 2, "collect": 2},
                **{"evict": 1, "node fails": 1},
            },
            freezing=300,
            crashing=20,
            share=4,
        ),
        # Runs are cancelled and run out of time while replicas hang in the middle of a start.
        Profile(
            "closing",
            replicas=(2, 3, 3),
            runs=(1,),
            sizes=(0, 0, 1),
            words=200,
            weights={**CALM, **{"cancel": 6, "thaw": 5, "arrive": 3, "relist": 2, "crash": 1, "collect": 2}},
            freezing=400,
            crashing=10,
            share=3,
        ),
        # The smallest world with the longest pauses: one step, three replicas, each stopped again and again in a start.
        Profile(
            "duel",
            replicas=(3,),
            runs=(1,),
            sizes=(0,),
            words=220,
            weights={
                **{WATCH: 40, NODE: 40, CLOCK: 8},
                **{"thaw": 6, "delete pod": 4, "cancel": 2, "crash": 1, "arrive": 2, "collect": 1, "relist": 1},
            },
            freezing=700,
            crashing=10,
            share=3,
        ),
        # Gates that are opened late, while their Pods are deleted and runs end of what far-off caches show.
        Profile(
            "gates",
            replicas=(2, 3),
            runs=(1,),
            sizes=(0,),
            words=120,
            weights={
                **{WATCH: 14, NODE: 10, CLOCK: 16},
                **{"thaw": 6, "delete pod": 12, "cancel": 4, "arrive": 2, "relist": 1},
            },
            faulty=800,
            freezing=300,
            crashing=10,
        ),
        # Caches far behind, crashes, lists from the past.
        Profile(
            "stale",
            replicas=(1, 2, 3),
            runs=(1,),
            sizes=(0, 1, 2, 3),
            words=350,
            weights={
                **{WATCH: 20, NODE: 60, CLOCK: 12},
                **{"crash": 4, "relist": 4, "repeat": 3, "lose": 3, "delete pod": 2, "collect": 2, "evict": 1},
            },
            crashing=150,
            share=3,
        ),
        # Pods die of everything but their own doing.
        Profile(
            "rough",
            replicas=(1, 2),
            runs=(1, 2),
            sizes=(1, 2, 3, 4),
            words=500,
            weights={
                **CALM,
                **{"evict": 8, "node fails": 4, "delete pod": 6, "quota": 4, "reject": 1, "squat": 2, "crash": 2},
                **{"collect": 2, "relist": 1},
            },
            share=2,
        ),
        # Runs are deleted and made again under the same name.
        Profile(
            "deleting",
            replicas=(1, 2, 3),
            runs=(1, 2),
            sizes=(0, 1, 2),
            words=300,
            weights={
                **CALM,
                **{"delete run": 4, "create": 5, "collect": 12, "crash": 2, "relist": 3, "lose": 1, "thaw": 3},
            },
            freezing=100,
            share=2,
        ),
        # Steps with an item for each member of a list.
        Profile(
            "fans",
            replicas=(1, 2, 3),
            runs=(1,),
            sizes=(6,),
            words=600,
            weights={
                **CALM,
                **{"crash": 3, "freeze": 2, "thaw": 4, "relist": 2, "arrive": 3, "cancel": 2, "suspend": 1},
                **{"delete pod": 3, "evict": 3, "quota": 1, "reject": 1, "squat": 1, "collect": 4, "node fails": 1},
            },
            freezing=60,
            share=4,
        ),
        # Runs queue for few slots, while replicas hang, crash and see old lists.
        Profile(
            "queues",
            replicas=(1, 2, 2, 3),
            runs=(2, 3, 4),
            sizes=(0, 0, 1, 2, 6),
            words=500,
            weights={
                **CALM,
                **{"cancel": 2, "suspend": 1, "delete run": 2, "create": 2, "collect": 6, "crash": 2, "relist": 3},
                **{"lose": 2, "repeat": 1, "thaw": 5, "arrive": 3, "delete pod": 1},
            },
            freezing=150,
            queues=True,
            share=4,
        ),
        # Two replicas that both admit, for runs that need two keys: what one takes the other finds in its way.
        Profile(
            "handover",
            replicas=(2, 3),
            runs=(2, 3),
            sizes=(0,),
            words=250,
            weights={**{WATCH: 14, NODE: 20, CLOCK: 8}, **{"suspend": 4, "thaw": 8, "cancel": 1, "arrive": 3}},
            faulty=300,
            freezing=500,
            crashing=5,
            queues=True,
            share=1,
        ),
        # Runs whose steps share small allowances, while replicas hang, crash and see old runs.
        Profile(
            "rates",
            replicas=(1, 2, 2, 3),
            runs=(2, 3, 4),
            sizes=(0, 1, 2, 3, 6),
            words=500,
            weights={
                **{WATCH: 50, NODE: 40, CLOCK: 20},
                **{"cancel": 2, "suspend": 2, "delete run": 1, "create": 2, "collect": 4, "crash": 3, "relist": 3},
                **{"lose": 1, "thaw": 5, "arrive": 3, "delete pod": 1},
            },
            freezing=150,
            rates=True,
            share=3,
        ),
        # The same under a cap, which each replica keeps for itself.
        Profile(
            "capped",
            replicas=(1, 1, 2),
            runs=(2, 3),
            sizes=(1, 2, 6),
            words=400,
            weights={**CALM, **{"cancel": 2, "suspend": 2, "delete run": 1, "create": 2, "collect": 4, "crash": 3}},
            rates=True,
            cap=2,
            share=1,
        ),
        # Runs of a Workflow whose limit is raised and lowered while they hold slots and wait.
        Profile(
            "limits",
            replicas=(1, 2),
            runs=(3, 4),
            sizes=(0, 1),
            words=400,
            weights={
                **{WATCH: 50, NODE: 40, CLOCK: 14},
                **{"limit": 8, "cancel": 2, "delete run": 1, "create": 3, "collect": 4, "crash": 2, "relist": 2},
                **{"thaw": 5, "arrive": 2},
            },
            freezing=100,
            limits=True,
            share=1,
        ),
        # Runs are repeated while they run, after their end, and while they are being deleted.
        Profile(
            "reruns",
            replicas=(1, 2, 3),
            runs=(1, 2),
            sizes=(0, 1, 2, 3, 6, 6, 6, 6),
            words=500,
            weights={
                **CALM,
                **{"rerun": 8, "cancel": 3, "delete run": 2, "create": 2, "collect": 6, "crash": 3, "relist": 2},
                **{"thaw": 4, "arrive": 3},
            },
            freezing=60,
            crashing=80,
            share=3,
        ),
        # Runs that find what others have handed over.
        Profile(
            "cached",
            replicas=(1, 2, 3),
            runs=(2, 3, 4),
            sizes=(1, 2, 3),
            words=400,
            weights={
                **CALM,
                **{"crash": 3, "delete run": 3, "create": 8, "collect": 6, "relist": 2, "thaw": 3, "rerun": 2},
            },
            freezing=60,
            crashing=60,
            cached=True,
            share=2,
        ),
        # Steps hand over large outputs, or say so; replicas crash between the page and the outcome.
        Profile(
            "large",
            replicas=(1, 2, 3),
            runs=(1, 2),
            sizes=(1, 2, 3, 6),
            words=400,
            weights={
                **CALM,
                **{
                    "crash": 4,
                    "cancel": 1,
                    "delete run": 2,
                    "create": 2,
                    "collect": 4,
                    "relist": 2,
                    "thaw": 3,
                    "rerun": 3,
                },
            },
            freezing=60,
            crashing=80,
            large=True,
            share=2,
        ),
        # Finalizers are stripped by hand: a step may be doubled then, but every run still ends.
        Profile(
            "stripped",
            replicas=(1, 2),
            runs=(1,),
            sizes=(0, 1, 2, 3),
            words=300,
            weights={**CALM, **{"strip": 6, "crash": 3, "relist": 2, "delete pod": 2, "collect": 2}},
            stripped=True,
            share=1,
        ),
    )
}
DRAW = [profile for profile in PROFILES.values() for _ in range(profile.share)]
