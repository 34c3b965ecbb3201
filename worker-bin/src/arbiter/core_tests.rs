//! The arbiter's decisions, without processes.

use super::*;

/// A core with an imaginary shell: forks succeed at once, signals are noted.
struct World {
    core: Core,
    now: Instant,
    next_pid: Pid,
    alive: Vec<Pid>,
    log: Vec<Action>,
}

impl World {
    fn new(workers: usize) -> World {
        let mut world = World {
            core: Core::new(workers, Duration::from_secs(30), 1),
            now: Instant::now(),
            next_pid: 100,
            alive: Vec::new(),
            log: Vec::new(),
        };
        world.tell(Event::Tick);
        world
    }

    fn booted(workers: usize) -> World {
        let mut world = World::new(workers);
        world.all_ready();
        world.log.clear();
        world
    }

    fn tell(&mut self, event: Event) {
        for action in self.core.on(event, self.now) {
            self.log.push(action);
            if action == Action::Spawn {
                let pid = self.next_pid;
                self.next_pid += 1;
                self.alive.push(pid);
                self.tell(Event::Spawned(pid));
            }
        }
    }

    fn all_ready(&mut self) {
        for pid in self.alive.clone() {
            self.tell(Event::Ready(pid));
        }
    }

    fn dies(&mut self, pid: Pid, end: End) {
        self.alive.retain(|&alive| alive != pid);
        self.tell(Event::Exited(pid, end));
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.tell(Event::Tick);
    }

    fn told(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.log)
    }
}

const CRASH: End = End::Signal(11);
const TERM: fn(Pid) -> Action = |pid| Action::Signal(pid, Kill::Gracefully);

#[test]
fn announces_once_when_all_are_ready() {
    let mut world = World::new(2);
    assert_eq!(world.told(), [Action::Spawn, Action::Spawn]);
    world.tell(Event::Ready(100));
    assert_eq!(world.told(), []);
    world.tell(Event::Ready(101));
    assert_eq!(world.told(), [Action::Announce]);
    world.dies(100, CRASH);
    world.pass(1.0);
    world.all_ready();
    assert_eq!(world.told(), [Action::Spawn]);
}

#[test]
fn restarts_the_dead_after_a_delay_that_grows() {
    let mut world = World::booted(1);
    let mut delays = Vec::new();
    for _ in 0..10 {
        let pid = *world.alive.last().unwrap();
        world.dies(pid, CRASH);
        assert_eq!(world.told(), [], "never at once");
        let due = world.core.next_wakeup().unwrap();
        delays.push(due.duration_since(world.now).as_secs_f64());
        world.now = due;
        world.tell(Event::Tick);
        assert_eq!(world.told(), [Action::Spawn]);
        world.all_ready();
    }
    assert!((0.07..0.13).contains(&delays[0]), "{delays:?}");
    assert!((7.0..13.0).contains(&delays[9]), "{delays:?}");
}

#[test]
fn a_long_healthy_life_forgives() {
    let mut world = World::booted(1);
    for _ in 0..6 {
        world.dies(*world.alive.clone().last().unwrap(), CRASH);
        world.pass(13.0);
        world.all_ready();
    }
    world.pass(60.0);
    world.dies(world.alive[0], CRASH);
    let delay = world.core.next_wakeup().unwrap() - world.now;
    assert!(delay < Duration::from_millis(130), "{delay:?}");
}

#[test]
fn two_that_crash_are_both_replaced() {
    let mut world = World::booted(2);
    world.dies(100, CRASH);
    world.dies(101, CRASH);
    world.pass(0.2);
    assert_eq!(world.told(), [Action::Spawn, Action::Spawn]);
    assert_eq!(world.core.next_wakeup(), None);
}

#[test]
fn a_fork_that_fails_is_tried_again_later() {
    let mut core = Core::new(1, Duration::from_secs(30), 1);
    let now = Instant::now();
    assert_eq!(core.on(Event::Tick, now), [Action::Spawn]);
    assert_eq!(core.on(Event::SpawnFailed, now), []);
    let due = core.next_wakeup().unwrap();
    assert!(due > now);
    assert_eq!(core.on(Event::Tick, due), [Action::Spawn]);
}

#[test]
fn unable_to_boot_or_load_ends_the_server_only_at_first_start() {
    for code in [CANNOT_BOOT, CANNOT_LOAD] {
        let mut world = World::new(2);
        world.told();
        world.dies(101, End::Code(code));
        assert_eq!(world.told(), [Action::Signal(100, Kill::Quickly)]);
        world.dies(100, End::Code(0));
        assert_eq!(world.told(), [Action::Exit(code)]);

        let mut world = World::booted(2);
        world.dies(101, End::Code(code));
        world.pass(1.0);
        assert_eq!(world.told(), [Action::Spawn]);
    }
}

#[test]
fn other_children_are_nobodys_business() {
    let mut world = World::booted(1);
    world.dies(4711, CRASH);
    world.pass(1.0);
    assert_eq!(world.told(), []);
}

#[test]
fn stops_gracefully_then_kills_those_that_do_not() {
    let mut world = World::booted(2);
    world.tell(Event::Asked(Request::Stop));
    assert_eq!(world.told(), [TERM(100), TERM(101)]);
    world.dies(100, End::Code(0));
    assert_eq!(world.told(), []);
    world.pass(29.0);
    assert_eq!(world.told(), []);
    world.pass(1.0);
    assert_eq!(world.told(), [Action::Signal(101, Kill::Forcibly)]);
    world.dies(101, End::Signal(9));
    assert_eq!(world.told(), [Action::Exit(0)]);
}

#[test]
fn a_second_stop_is_quick() {
    let mut world = World::booted(1);
    world.tell(Event::Asked(Request::Stop));
    world.tell(Event::Asked(Request::Stop));
    assert_eq!(world.told(), [TERM(100), Action::Signal(100, Kill::Quickly)]);
    world.pass(2.0);
    assert_eq!(world.told(), [Action::Signal(100, Kill::Forcibly)]);
}

#[test]
fn stopping_without_workers_ends_at_once() {
    let mut world = World::booted(1);
    world.dies(100, CRASH);
    world.tell(Event::Asked(Request::Stop));
    assert_eq!(world.told(), [Action::Exit(0)]);
}

#[test]
fn ttin_and_ttou_change_the_number() {
    let mut world = World::booted(1);
    world.tell(Event::Asked(Request::More));
    assert_eq!(world.told(), [Action::Spawn]);
    world.all_ready();
    world.tell(Event::Asked(Request::Less));
    assert_eq!(world.told(), [TERM(100)], "the eldest goes");
    world.dies(100, End::Code(0));
    world.tell(Event::Asked(Request::Less));
    world.pass(60.0);
    assert_eq!(world.told(), [], "the last one stays");
}

#[test]
fn ttou_forgets_a_crashed_one() {
    let mut world = World::booted(2);
    world.dies(100, CRASH);
    world.tell(Event::Asked(Request::Less));
    world.pass(60.0);
    assert_eq!(world.told(), []);
}

#[test]
fn reload_replaces_one_by_one_new_before_old() {
    let mut world = World::booted(2);
    world.tell(Event::Asked(Request::Reload));
    assert_eq!(world.told(), [Action::Spawn]);
    world.pass(60.0);
    assert_eq!(world.told(), [], "nobody leaves before the new one is ready");
    world.tell(Event::Ready(102));
    assert_eq!(world.told(), [TERM(100), Action::Spawn]);
    world.dies(100, End::Code(0));
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [TERM(101)]);
    world.dies(101, End::Code(0));
    world.pass(60.0);
    assert_eq!(world.told(), []);
    assert_eq!(world.alive, [102, 103]);
}

#[test]
fn a_new_generation_that_dies_leaves_the_old_one_serving() {
    let mut world = World::booted(1);
    world.tell(Event::Asked(Request::Reload));
    for _ in 0..5 {
        let pid = *world.alive.last().unwrap();
        world.dies(pid, End::Code(CANNOT_LOAD));
        world.pass(13.0);
    }
    assert!(world.told().iter().all(|&action| action == Action::Spawn));
    assert!(world.alive.contains(&100));
}

#[test]
fn a_second_reload_starts_over() {
    let mut world = World::booted(2);
    world.tell(Event::Asked(Request::Reload));
    world.told();
    world.tell(Event::Asked(Request::Reload));
    assert_eq!(world.told(), [TERM(102), Action::Spawn], "the half-booted one is of no use");
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [TERM(100), Action::Spawn]);
}
