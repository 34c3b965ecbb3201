//! Reloads, without processes.

use super::tests::{CRASH, TERM, World, targets};
use super::*;

const DONE: End = End::Code(0);

fn hup(world: &mut World, workers: usize) {
    world.tell(Event::Asked(Request::Reload(targets(workers))));
}

#[test]
fn the_canary_goes_first_and_then_one_by_one_new_before_old() {
    let mut world = World::booted(3);
    hup(&mut world, 3);
    assert_eq!(world.told(), [Action::Spawn(1)]);
    world.pass(60.0);
    assert_eq!(world.told(), [], "nobody leaves before the new one is ready");
    world.tell(Event::Booted(103));
    assert_eq!(world.told(), [], "an application is not yet an open slot");
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [Action::Adopted(1), TERM(100), Action::Spawn(1)]);
    world.dies(100, DONE);
    world.tell(Event::Ready(104));
    assert_eq!(world.told(), [TERM(101), Action::Spawn(1)]);
    world.dies(101, DONE);
    world.tell(Event::Ready(105));
    assert_eq!(world.told(), [TERM(102)]);
    world.dies(102, DONE);
    world.pass(60.0);
    assert_eq!(world.told(), []);
    assert_eq!(world.alive, [103, 104, 105]);
    assert_eq!(world.core.generation(), 1);
}

#[test]
fn a_canary_that_dies_leaves_the_old_generation_and_is_not_tried_again() {
    for end in [End::Code(CANNOT_BOOT), End::Code(CANNOT_LOAD), End::Code(0), CRASH] {
        let mut world = World::booted(2);
        hup(&mut world, 2);
        world.tell(Event::Booted(102));
        world.dies(102, end);
        assert_eq!(world.told(), [Action::Spawn(1), Action::Rejected(1, Flaw::Ended(end))]);
        world.pass(60.0);
        assert_eq!(world.told(), []);
        assert_eq!((world.core.generation(), world.core.crashes()), (0, 0));
        world.dies(100, CRASH);
        world.pass(60.0);
        assert_eq!(world.told(), [Action::Spawn(0)], "and the old one keeps its strength");
    }
}

#[test]
fn a_canary_without_a_slot_is_given_up() {
    let mut world = World::booted(1);
    hup(&mut world, 1);
    world.tell(Event::Booted(101));
    world.told();
    world.pass(300.0);
    assert_eq!(world.told(), [Action::Rejected(1, Flaw::Late), TERM(101)]);
    world.tell(Event::Ready(101));
    assert_eq!(world.told(), [], "too late");
    world.pass(2.0);
    assert_eq!(world.told(), [Action::Signal(101, Kill::Forcibly)]);
    world.dies(101, End::Signal(9));
    world.pass(60.0);
    assert_eq!(world.told(), []);
}

#[test]
fn a_canary_that_cannot_be_started_is_given_up() {
    let mut core = Core::new(targets(1), 1);
    let now = Instant::now();
    core.on(Event::Tick, now);
    core.on(Event::Spawned(0, 100), now);
    core.on(Event::Ready(100), now);
    let reload = Event::Asked(Request::Reload(targets(1)));
    assert_eq!(core.on(reload, now), [Action::Spawn(1)]);
    assert_eq!(core.on(Event::SpawnFailed(1, None), now), [Action::Rejected(1, Flaw::NotStarted)]);
    assert_eq!(core.on(Event::Tick, now + Duration::from_secs(60)), []);
}

#[test]
fn a_good_reload_after_a_bad_one() {
    let mut world = World::booted(1);
    hup(&mut world, 1);
    world.dies(101, End::Code(CANNOT_BOOT));
    world.told();
    hup(&mut world, 1);
    assert_eq!(world.told(), [Action::Spawn(2)]);
    world.tell(Event::Ready(102));
    assert_eq!(world.told(), [Action::Adopted(2), TERM(100)]);
}

#[test]
fn a_second_reload_starts_over_with_the_newest() {
    let mut world = World::booted(2);
    hup(&mut world, 2);
    world.told();
    hup(&mut world, 2);
    assert_eq!(world.told(), [TERM(102), Action::Spawn(2)], "the half-booted one is of no use");
    world.tell(Event::Ready(102));
    world.dies(102, DONE);
    assert_eq!(world.told(), []);
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [Action::Adopted(2), TERM(100), Action::Spawn(2)]);
    // In the middle of the roll: two generations, and a third.
    hup(&mut world, 2);
    assert_eq!(world.told(), [Action::Spawn(3)]);
    world.dies(100, DONE);
    world.tell(Event::Ready(105));
    assert_eq!(world.told(), [Action::Adopted(3), TERM(104), TERM(101), Action::Spawn(3)]);
    world.tell(Event::Ready(106));
    assert_eq!(world.told(), [TERM(103)]);
}

#[test]
fn a_roll_goes_on_when_a_newer_canary_fails() {
    let mut world = World::booted(2);
    hup(&mut world, 2);
    world.tell(Event::Ready(102));
    world.dies(100, DONE);
    hup(&mut world, 2);
    world.told();
    world.dies(104, CRASH);
    assert_eq!(world.told(), [Action::Rejected(2, Flaw::Ended(CRASH))]);
    world.tell(Event::Ready(103));
    assert_eq!(world.told(), [TERM(101)]);
}

#[test]
fn a_reload_brings_new_targets_if_it_succeeds() {
    let mut world = World::booted(1);
    hup(&mut world, 3);
    assert_eq!(world.told(), [Action::Spawn(1)]);
    world.dies(101, CRASH);
    assert_eq!(world.core.target(), 1);
    hup(&mut world, 2);
    world.tell(Event::Asked(Request::More));
    world.told();
    assert_eq!(world.core.target(), 2);
    world.all_ready();
    assert_eq!(world.core.target(), 3, "one more than the two that the reload wants");
}

#[test]
fn a_reload_during_boot_changes_nothing_for_those_that_boot() {
    let mut world = World::new(1);
    hup(&mut world, 1);
    assert_eq!(world.told(), [Action::Spawn(0), Action::Spawn(1)]);
    world.dies(101, End::Code(CANNOT_BOOT));
    world.tell(Event::Ready(100));
    let rejected = Action::Rejected(1, Flaw::Ended(End::Code(CANNOT_BOOT)));
    assert_eq!(world.told(), [rejected, Action::Announce]);
}

#[test]
fn a_stop_during_a_reload_takes_the_canary_with_it() {
    let mut world = World::booted(1);
    hup(&mut world, 1);
    world.told();
    world.tell(Event::Asked(Request::Stop));
    assert_eq!(world.told(), [TERM(100), TERM(101)]);
    hup(&mut world, 1);
    world.dies(101, DONE);
    world.dies(100, DONE);
    assert_eq!(world.told(), [Action::Exit(0)]);
}

#[test]
fn crashes_in_a_roll_are_backed_off_and_the_old_stay() {
    let mut world = World::booted(2);
    hup(&mut world, 2);
    world.tell(Event::Ready(102));
    world.dies(100, DONE);
    world.told();
    world.dies(103, CRASH);
    assert_eq!(world.told(), [], "never at once");
    world.pass(0.2);
    assert_eq!(world.told(), [Action::Spawn(1)]);
    assert!(world.alive.contains(&101));
}
