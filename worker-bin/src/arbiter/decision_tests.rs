//! The arbiter's decisions, without processes.

use super::*;

/// A core with an imaginary shell: forks succeed at once, signals are noted.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Instant,
    next_pid: Pid,
    pub(super) alive: Vec<Pid>,
    log: Vec<Action>,
}

impl World {
    pub(super) fn new(workers: usize) -> World {
        let mut world = World {
            core: Core::new(targets(workers), 1),
            now: Instant::now(),
            next_pid: 100,
            alive: Vec::new(),
            log: Vec::new(),
        };
        world.tell(Event::Tick);
        world
    }

    pub(super) fn booted(workers: usize) -> World {
        let mut world = World::new(workers);
        world.all_ready();
        world.log.clear();
        world
    }

    pub(super) fn tell(&mut self, event: Event) {
        for action in self.core.on(event, self.now) {
            self.log.push(action);
            if let Action::Spawn(generation) = action {
                let pid = self.next_pid;
                self.next_pid += 1;
                self.alive.push(pid);
                self.tell(Event::Spawned(generation, pid));
            }
        }
    }

    pub(super) fn all_ready(&mut self) {
        for pid in self.alive.clone() {
            self.tell(Event::Booted(pid));
            self.tell(Event::Ready(pid));
        }
    }

    pub(super) fn dies(&mut self, pid: Pid, end: End) {
        self.alive.retain(|&alive| alive != pid);
        self.tell(Event::Exited(pid, end));
    }

    pub(super) fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.tell(Event::Tick);
    }

    pub(super) fn told(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.log)
    }
}

pub(super) fn targets(workers: usize) -> Targets {
    let (graceful_timeout, boot_timeout) = (Duration::from_secs(30), Duration::from_secs(300));
    Targets { workers, graceful_timeout, boot_timeout, max_memory: None }
}

pub(super) const CRASH: End = End::Signal(11);
pub(super) const TERM: fn(Pid) -> Action = |pid| Action::Signal(pid, Kill::Gracefully);

#[test]
fn announces_once_when_all_are_ready() {
    let mut world = World::new(2);
    assert_eq!(world.told(), [Action::Spawn(0), Action::Spawn(0)]);
    world.tell(Event::Ready(100));
    assert_eq!(world.told(), []);
    world.tell(Event::Ready(101));
    assert_eq!(world.told(), [Action::Announce]);
    world.dies(100, CRASH);
    world.pass(1.0);
    world.all_ready();
    assert_eq!(world.told(), [Action::Spawn(0)]);
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
        assert_eq!(world.told(), [Action::Spawn(0)]);
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
    assert_eq!(world.told(), [Action::Spawn(0), Action::Spawn(0)]);
    world.all_ready();
    assert_eq!(world.core.next_wakeup(), None);
}

#[test]
fn a_fork_that_fails_is_tried_again_later() {
    let mut core = Core::new(targets(1), 1);
    let now = Instant::now();
    assert_eq!(core.on(Event::Tick, now), [Action::Spawn(0)]);
    assert_eq!(core.on(Event::SpawnFailed(0, None), now), []);
    let due = core.next_wakeup().unwrap();
    assert!(due > now);
    assert_eq!(core.on(Event::Tick, due), [Action::Spawn(0)]);
}

#[test]
fn unable_to_boot_or_load_ends_the_server_only_at_first_start() {
    for code in [CANNOT_BOOT, CANNOT_LOAD] {
        let mut world = World::new(2);
        world.told();
        world.dies(101, End::Code(code));
        assert_eq!(world.told(), [TERM(100)], "it has no handler for QUIT yet");
        world.dies(100, End::Code(0));
        assert_eq!(world.told(), [Action::Exit(code)]);

        let mut world = World::booted(2);
        world.dies(101, End::Code(code));
        world.pass(1.0);
        assert_eq!(world.told(), [Action::Spawn(0)]);
    }
}

#[test]
fn a_code_of_the_application_ends_no_server_that_others_are_still_booting_for() {
    for code in [CANNOT_BOOT, CANNOT_LOAD] {
        let mut world = World::new(2);
        world.told();
        world.tell(Event::Ready(100));
        world.dies(100, End::Code(code));
        assert_eq!(world.told(), []);
        world.pass(1.0);
        assert_eq!(world.told(), [Action::Spawn(0)]);
        assert_eq!(world.core.crashes(), 1);
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
    assert_eq!(world.told(), [Action::Spawn(0)]);
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
fn ttou_at_once_with_ttin_comes_to_nothing() {
    let mut world = World::booted(2);
    for request in [Request::Less, Request::More] {
        world.tell(Event::Asked(request));
    }
    assert_eq!(world.told(), [TERM(100), Action::Spawn(0)]);
    world.dies(100, End::Code(0));
    world.all_ready();
    world.pass(60.0);
    assert_eq!((world.told(), world.alive.len()), (vec![], 2));
}

#[test]
fn winch_stops_workers_until_hup_or_ttin() {
    let mut world = World::booted(2);
    world.tell(Event::Asked(Request::Rest));
    world.tell(Event::Asked(Request::Rest));
    assert_eq!(world.told(), [TERM(100), TERM(101)]);
    world.dies(100, End::Code(0));
    world.dies(101, End::Code(0));
    world.tell(Event::Asked(Request::Less));
    world.pass(60.0);
    assert_eq!(world.told(), []);
    world.tell(Event::Asked(Request::More));
    assert_eq!(world.told(), [Action::Spawn(0)], "one, as gunicorn does");
    world.tell(Event::Asked(Request::Rest));
    assert_eq!(world.told(), [TERM(102)], "not even one that boots");
    world.dies(102, CRASH);
    world.tell(Event::Asked(Request::Reload(targets(2))));
    assert_eq!(world.told(), [Action::Spawn(1)], "it has to prove itself first");
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [Action::Adopted(1), Action::Spawn(1)]);
}

#[test]
fn usr1_is_passed_on_to_all() {
    let mut world = World::booted(2);
    world.tell(Event::Asked(Request::Reopen));
    assert_eq!(world.told(), [Action::Reopen(100), Action::Reopen(101)]);
}

#[test]
fn the_spent_are_replaced_one_by_one_new_before_old() {
    let mut world = World::booted(2);
    world.tell(Event::Spent(100));
    world.tell(Event::Spent(101));
    world.tell(Event::Spent(101));
    assert_eq!(world.told(), [Action::Spawn(0)]);
    world.pass(60.0);
    assert_eq!(world.told(), [], "they serve until then");
    world.tell(Event::Ready(102));
    assert_eq!(world.told(), [TERM(100), Action::Spawn(0)]);
    world.dies(100, End::Code(0));
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [TERM(101)]);
    world.dies(101, End::Code(0));
    world.pass(60.0);
    assert_eq!((world.told(), world.core.crashes()), (vec![], 0));
}

#[test]
fn workers_that_are_too_large_from_the_start_are_replaced_ever_more_slowly() {
    let mut world = World::booted(2);
    let mut lives = Vec::new();
    let mut begun = world.now;
    for round in 0..10 {
        let large: Vec<_> = world.alive.clone();
        large.iter().for_each(|&pid| world.tell(Event::TooLarge(pid)));
        let warnings = usize::from(round > 0) * 2;
        let warned = large[..warnings].iter().map(|&pid| Action::TooLargeAgain(pid));
        assert_eq!(world.told(), warned.collect::<Vec<_>>(), "never replaced at once");
        large.iter().for_each(|&pid| world.tell(Event::TooLarge(pid)));
        for pid in large {
            while world.alive.contains(&pid) {
                world.now = world.now.max(world.core.next_wakeup().unwrap_or(world.now));
                world.tell(Event::Tick);
                world.all_ready();
                let leaving = |pid: &Pid| world.core.worker(*pid).unwrap().is_leaving();
                let gone: Vec<_> = world.alive.iter().copied().filter(leaving).collect();
                gone.into_iter().for_each(|pid| world.dies(pid, End::Code(0)));
            }
        }
        lives.push(world.now.duration_since(begun).as_secs_f64());
        begun = world.now;
        world.told();
    }
    assert!((0.07..0.26).contains(&lives[0]), "{lives:?}");
    assert!(lives.is_sorted_by(|one, next| *one < next * 1.5), "{lives:?}");
    assert!((7.0..13.0).contains(&lives[9]), "{lives:?}");
    assert_eq!((world.core.crashes(), world.alive.len()), (0, 2));
}

#[test]
fn a_worker_that_has_grown_is_replaced_at_once() {
    let mut world = World::booted(1);
    world.tell(Event::TooLarge(100));
    world.pass(1.0);
    world.tell(Event::Ready(101));
    world.dies(100, End::Code(0));
    world.pass(60.0);
    world.told();
    world.tell(Event::TooLarge(101));
    assert_eq!(world.told(), [Action::Spawn(0)]);
    world.tell(Event::Ready(102));
    world.dies(101, End::Code(0));
    world.told();
    world.tell(Event::TooLarge(102));
    assert_eq!(world.told(), [], "its place has no failures behind it");
}

#[test]
fn an_overdue_request_ends_its_worker_and_another_one_comes_at_once() {
    let mut world = World::booted(1);
    world.tell(Event::Overdue(100));
    world.tell(Event::Overdue(100));
    assert_eq!(world.told(), [Action::Signal(100, Kill::Interrupt), Action::Spawn(0)]);
    world.pass(0.7);
    assert_eq!(world.told(), []);
    world.pass(0.1);
    assert_eq!(world.told(), [Action::Signal(100, Kill::Explain)]);
    world.pass(0.1);
    assert_eq!(world.told(), []);
    world.pass(0.1);
    assert_eq!(world.told(), [Action::Signal(100, Kill::Forcibly)]);
    world.dies(100, End::Signal(9));
    world.pass(60.0);
    assert_eq!((world.told(), world.core.crashes()), (vec![], 0), "that was no crash");
}

#[test]
fn an_overdue_request_does_not_get_the_grace_of_a_stop() {
    let mut world = World::booted(1);
    world.tell(Event::Asked(Request::Stop));
    world.told();
    world.tell(Event::Overdue(100));
    world.pass(0.8);
    world.pass(0.2);
    let kills = [Kill::Interrupt, Kill::Explain, Kill::Forcibly];
    assert_eq!(world.told(), kills.map(|kill| Action::Signal(100, kill)));
}

#[test]
fn when_an_overdue_request_has_ended_the_others_get_the_grace_of_a_stop() {
    let mut world = World::booted(1);
    world.tell(Event::Overdue(100));
    world.pass(0.7);
    assert_eq!(world.told(), [Action::Signal(100, Kill::Interrupt), Action::Spawn(0)]);
    world.tell(Event::OnTime(100));
    world.pass(29.2);
    assert_eq!(world.told(), []);
    world.pass(0.1);
    assert_eq!(world.told(), [Action::Signal(100, Kill::Forcibly)], "30 s in all");
}

#[test]
fn another_request_that_is_overdue_is_interrupted_as_well() {
    let mut world = World::booted(1);
    world.tell(Event::Overdue(100));
    world.pass(0.9);
    world.tell(Event::OnTime(100));
    world.pass(1.0);
    world.told();
    world.tell(Event::Overdue(100));
    world.pass(0.8);
    world.pass(0.2);
    let kills = [Kill::Interrupt, Kill::Explain, Kill::Forcibly];
    assert_eq!(world.told(), kills.map(|kill| Action::Signal(100, kill)));
}

#[test]
fn a_worker_that_hangs_in_boot_is_replaced_after_a_while_but_not_one_without_an_edge() {
    let mut world = World::new(2);
    world.told();
    world.tell(Event::Booted(100));
    assert_eq!(world.core.next_wakeup(), Some(world.now + Duration::from_secs(300)));
    world.pass(300.0);
    assert_eq!(world.told(), [Action::NotBooted(101), TERM(101)]);
    world.pass(0.2);
    assert_eq!(world.told(), [Action::Spawn(0)]);
    world.pass(2.0);
    assert_eq!(world.told(), [Action::Signal(101, Kill::Forcibly)]);
}
