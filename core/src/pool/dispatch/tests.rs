//! One pool, step by step.

use super::*;

const NOW: Time = Time(1_000_000_000);
const WARDEN_TOKEN: Token = Token::new(9, 9, 9);

fn pool(queue: usize) -> PoolCore {
    PoolCore::new(PoolLimits { queue, ..PoolLimits::default() })
}

fn request(pool: &mut PoolCore, number: u32) -> Admission {
    pool.request(1, Token::new(0, number, 0), NOW)
}

fn join(pool: &mut PoolCore, fd: Fd) -> SlotId {
    let (slot, assignment) = pool.join(fd, 2, WARDEN_TOKEN, 77, NOW);
    assert_eq!(assignment, None);
    slot
}

fn after(milliseconds: u64) -> Time {
    NOW.after(Duration::from_millis(milliseconds))
}

/// With this `boot_grace`, a `queue_timeout` of ten seconds and a queue that never stands.
fn pool_with_grace(milliseconds: u64) -> PoolCore {
    PoolCore::new(PoolLimits {
        boot_grace: Duration::from_millis(milliseconds),
        queue_target: Duration::MAX,
        ..PoolLimits::default()
    })
}

#[test]
fn the_oldest_request_of_any_reactor_gets_the_slot_that_becomes_free() {
    let mut pool = pool(10);
    let slot = join(&mut pool, 5);
    assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 5 });
    let Admission::Queued(id, _) = pool.request(3, Token::new(0, 1, 0), NOW) else { panic!() };
    let Admission::Queued(later, _) = request(&mut pool, 2) else { panic!() };
    let AfterRelease::Assign(assignment) = pool.release(slot, true, NOW) else { panic!() };
    assert_eq!((assignment.ticket.reactor, assignment.id), (3, id));
    assert_eq!((assignment.slot, assignment.fd), (slot, 5));
    assert!(!pool.cancel(id), "it has the slot already");
    assert!(pool.cancel(later));
    assert_eq!(pool.release(slot, true, NOW), AfterRelease::None);
    assert_eq!(pool.counts(), PoolCounts { slots: 1, idle: 1, ..PoolCounts::default() });
}

#[test]
fn a_worker_that_dials_in_serves_at_once_and_a_full_queue_refuses() {
    let mut pool = pool(1);
    assert!(matches!(request(&mut pool, 0), Admission::Queued(..)));
    assert_eq!(request(&mut pool, 1), Admission::Full);
    let (_, assignment) = pool.join(5, 2, WARDEN_TOKEN, 77, NOW);
    assert_eq!(assignment.unwrap().ticket.token, Token::new(0, 0, 0));
    assert!(matches!(request(&mut pool, 1), Admission::Queued(..)));
}

#[test]
fn without_a_worker_patience_is_the_boot_grace_if_that_is_shorter() {
    for (boot_grace, patience) in [(2_000, 2_000), (20_000, 10_000)] {
        let mut pool = pool_with_grace(boot_grace);
        let Admission::Queued(_, at) = request(&mut pool, 0) else { panic!() };
        assert_eq!(at, after(patience));
        let (_, assignment) = pool.join(5, 2, WARDEN_TOKEN, 77, NOW);
        // A worker that has hung up inside an exchange is not there.
        assert!(!pool.hang_up(assignment.unwrap().slot, NOW));
        let Admission::Queued(id, at) = request(&mut pool, 1) else { panic!() };
        assert_eq!(at, after(patience));
        assert_eq!(pool.still_waiting(id, at), StillWaiting::TimedOut);
    }
}

#[test]
fn when_a_worker_comes_the_boot_grace_is_over() {
    let mut pool = pool_with_grace(1_000);
    let [_, id] = [0, 1].map(|number| match request(&mut pool, number) {
        Admission::Queued(id, at) if at == after(1_000) => id,
        other => panic!("{other:?}"),
    });
    assert!(pool.join(5, 2, WARDEN_TOKEN, 77, after(500)).1.is_some());
    assert_eq!(pool.still_waiting(id, after(1_000)), StillWaiting::Until(after(2_000)));
    assert_eq!(pool.still_waiting(id, after(9_500)), StillWaiting::Until(after(10_000)));
    assert_eq!(pool.still_waiting(id, after(10_000)), StillWaiting::TimedOut);
}

#[test]
fn the_boot_grace_begins_when_the_last_worker_leaves() {
    let mut pool = pool_with_grace(1_000);
    let slots = [5, 6, 7].map(|fd| join(&mut pool, fd));
    for number in 0..3 {
        assert!(matches!(request(&mut pool, number), Admission::Assigned { .. }));
    }
    let Admission::Queued(id, at) = request(&mut pool, 3) else { panic!() };
    assert_eq!(at, after(1_000), "it must not miss that they leave");
    assert!(!pool.hang_up(slots[2], after(100)));
    assert!(!pool.hang_up(slots[1], after(1_000)));
    assert_eq!(pool.still_waiting(id, after(1_000)), StillWaiting::Until(after(2_000)));
    let close = pool.release(slots[0], false, after(1_100));
    assert!(matches!(close, AfterRelease::Close { .. }));
    // One that was with a worker, and one that comes later.
    let ticket = Ticket { reactor: 1, token: Token::new(0, 0, 0), give_up_at: after(9_000) };
    let again = pool.request_again(ticket, 77, after(1_200));
    assert!(matches!(again, Admission::Queued(_, at) if at == after(2_100)));
    let late = pool.request(1, Token::new(0, 4, 0), after(1_200));
    assert!(matches!(late, Admission::Queued(_, at) if at == after(2_200)));
    assert_eq!(pool.still_waiting(id, after(2_000)), StillWaiting::Until(after(2_100)));
    assert_eq!(pool.still_waiting(id, after(2_100)), StillWaiting::TimedOut);
}

#[test]
fn whatever_the_boot_grace_nobody_asks_all_the_time() {
    let mut pool = pool_with_grace(0);
    let slot = join(&mut pool, 5);
    assert!(matches!(request(&mut pool, 0), Admission::Assigned { .. }));
    let Admission::Queued(id, at) = request(&mut pool, 1) else { panic!() };
    assert_eq!(at, after(200));
    assert_eq!(pool.still_waiting(id, at), StillWaiting::Until(after(400)));
    assert!(!pool.hang_up(slot, after(300)));
    assert_eq!(pool.still_waiting(id, after(400)), StillWaiting::TimedOut);
}

#[test]
fn a_slot_is_closed_by_its_warden_when_the_worker_and_the_user_have_left() {
    let mut pool = pool(10);
    let slot = join(&mut pool, 5);
    assert!(pool.hang_up(slot, NOW), "idle: at once");
    assert!(!pool.hang_up(slot, NOW), "only once");

    let slot = join(&mut pool, 6);
    assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 6 });
    assert!(!pool.hang_up(slot, NOW), "busy: not yet");
    assert!(pool.is_hung_up(slot));
    let close = AfterRelease::Close { warden: 2, slot, fd: 6, warden_token: WARDEN_TOKEN };
    assert_eq!(pool.release(slot, true, NOW), close);

    let slot = join(&mut pool, 7);
    assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 7 });
    let close = AfterRelease::Close { warden: 2, slot, fd: 7, warden_token: WARDEN_TOKEN };
    assert_eq!(pool.release(slot, false, NOW), close);
    assert!(matches!(request(&mut pool, 1), Admission::Queued(..)), "closed: not assigned");
    assert!(!pool.hang_up(slot, NOW), "its warden has been told");
}

#[test]
fn a_request_that_returns_goes_first_and_is_never_refused() {
    let mut pool = pool(0);
    let give_up_at = NOW.after(Duration::from_millis(1));
    let ticket = |number| Ticket { reactor: 1, token: Token::new(0, number, 0), give_up_at };
    for number in 0..2 {
        let Admission::Queued(_, at) = pool.request_again(ticket(number), 77, NOW) else {
            panic!()
        };
        assert_eq!(at, give_up_at);
    }
    let (_, assignment) = pool.join(5, 2, WARDEN_TOKEN, 77, NOW);
    assert_eq!(assignment.unwrap().ticket, ticket(1));
}

#[test]
fn a_request_that_returns_avoids_the_process_that_it_was_with() {
    let mut pool = pool(0);
    let slots = [70, 71, 72, 71, 71].map(|process| pool.join(5, 2, WARDEN_TOKEN, process, NOW).0);
    let ticket = Ticket { reactor: 1, token: Token::new(0, 0, 0), give_up_at: NOW };
    let mut take = || match pool.request_again(ticket, 71, NOW) {
        Admission::Assigned { slot, .. } => slots.iter().position(|&other| other == slot),
        other => panic!("{other:?}"),
    };
    assert_eq!([0; 5].map(|_| take().unwrap()), [2, 0, 4, 3, 1]);
}

#[test]
fn a_request_waits_on_until_its_time_is_up_and_asks_in_between() {
    let limits = PoolLimits { queue_timeout: Duration::from_millis(450), ..PoolLimits::default() };
    let mut pool = PoolCore::new(limits);
    let slot = join(&mut pool, 5);
    assert!(matches!(request(&mut pool, 0), Admission::Assigned { .. }));
    let Admission::Queued(id, at) = request(&mut pool, 1) else { panic!() };
    assert_eq!(at, after(300), "three times the target");
    assert_eq!(pool.still_waiting(id, after(200)), StillWaiting::Until(after(300)));
    assert_eq!(pool.still_waiting(id, after(300)), StillWaiting::Until(after(450)));
    assert_eq!(pool.still_waiting(id, after(450)), StillWaiting::TimedOut);
    assert_eq!((pool.counts().queued, pool.refusals().queue_timeout), (0, 1));

    let Admission::Queued(id, _) = request(&mut pool, 2) else { panic!() };
    assert!(matches!(pool.release(slot, true, NOW), AfterRelease::Assign(_)));
    assert_eq!(pool.still_waiting(id, after(1000)), StillWaiting::Assigned);
}

#[test]
fn a_queue_that_stands_serves_the_newest_and_refuses_the_late() {
    let mut pool = pool(1000);
    let slot = join(&mut pool, 5);
    assert!(matches!(request(&mut pool, 0), Admission::Assigned { .. }));
    let mut ids = Vec::new();
    // Two come while one is served; first come, first served, until three windows are over.
    for round in 1.. {
        let now = after(round * 20);
        for number in [2 * round - 1, 2 * round] {
            let token = Token::new(0, number as u32, 0);
            let Admission::Queued(id, _) = pool.request(1, token, now) else { panic!() };
            ids.push(id);
        }
        let AfterRelease::Assign(next) = pool.release(slot, true, now) else { panic!() };
        if pool.counts().stood == 1 {
            assert_eq!(u64::from(next.ticket.token.index()), 2 * round, "the newest");
            assert!(pool.cancel(ids[ids.len() - 2]));
            assert_eq!(pool.oldest_since(), Some(after(round.div_ceil(2) * 20)));
            assert_eq!(pool.still_waiting(ids[round as usize], now), StillWaiting::Delayed);
            assert_eq!((pool.refusals().queue_delay, pool.refusals().queue_timeout), (1, 0));
            break;
        }
        assert_eq!(u64::from(next.ticket.token.index()), round, "the oldest");
    }
    // One that returns goes first, and waits as long as it may.
    let ticket = Ticket { reactor: 1, token: Token::new(0, 9999, 0), give_up_at: after(20_000) };
    let Admission::Queued(id, _) = pool.request_again(ticket, 77, after(2_000)) else { panic!() };
    assert_eq!(pool.still_waiting(id, after(19_000)), StillWaiting::Until(after(20_000)));
    let AfterRelease::Assign(next) = pool.release(slot, true, after(19_000)) else { panic!() };
    assert_eq!(next.id, id);
    // Without a worker nothing can be said about the queue.
    let late = ids[ids.len() - 3];
    assert!(!pool.hang_up(slot, NOW));
    assert!(matches!(pool.still_waiting(late, after(9_000)), StillWaiting::Until(_)));
}

#[test]
fn a_queue_stands_though_its_worker_leaves_after_each_request() {
    let mut pool = pool(1000);
    let mut number = 0;
    for round in 1..=100 {
        let now = after(round * 20);
        for _ in 0..2 {
            number += 1;
            assert!(matches!(
                pool.request(1, Token::new(0, number, 0), now),
                Admission::Queued(..)
            ));
        }
        let (slot, next) = pool.join(5, 2, Token::new(0, 0, 0), 77, now);
        assert!(next.is_some());
        assert!(matches!(pool.release(slot, false, now), AfterRelease::Close { .. }));
    }
    assert_eq!(pool.counts().stood, 1);
    let Admission::Queued(id, _) = pool.request(1, Token::new(0, 0, 0), after(1_900)) else {
        panic!()
    };
    assert_eq!(pool.still_waiting(id, after(2_199)), StillWaiting::Until(after(2_200)));
    // The last worker has left at 2,000.
    assert!(matches!(pool.still_waiting(id, after(2_200)), StillWaiting::Until(_)));
    assert!(matches!(pool.request(1, Token::new(0, 1, 0), after(2_200)), Admission::Queued(..)));
    let (slot, _) = pool.join(5, 2, Token::new(0, 0, 0), 77, after(2_200));
    assert!(matches!(pool.release(slot, false, after(2_201)), AfterRelease::Close { .. }));
    assert_eq!(pool.still_waiting(id, after(2_400)), StillWaiting::Delayed);
}

#[test]
fn a_retired_pool_keeps_no_slot_that_becomes_free() {
    let mut pool = pool(1);
    let slot = join(&mut pool, 5);
    assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 5 });
    pool.retire();
    let AfterRelease::Close { fd, warden, .. } = pool.release(slot, true, NOW) else { panic!() };
    assert_eq!((fd, warden), (5, 2));
    assert_eq!(pool.counts(), PoolCounts::default());
}

#[test]
fn new_limits_are_for_requests_that_come_later() {
    let mut pool = pool(2);
    let Admission::Queued(id, _) = request(&mut pool, 0) else { panic!() };
    let limits = PoolLimits { queue: 1, ..*pool.limits() };
    pool.set_limits(limits);
    assert_eq!(request(&mut pool, 1), Admission::Full);
    assert_eq!(pool.refusals().queue_full, 1);
    assert!(pool.cancel(id), "it waits on");
}
