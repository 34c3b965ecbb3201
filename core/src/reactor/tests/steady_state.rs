//! What ten thousand requests cost besides time: nothing.

use crate::allocations::allocations;
use crate::bench::SimulatedEdge;
use std::time::Duration;

const FILE: &[u8] = b"GET /1k.txt HTTP/1.1\r\nHost: example.com\r\n\r\n";
const APP: &[u8] = b"GET /app/hello HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n";

/// Allocations of `count` requests, the simulated kernel's and peers' included.
fn allocations_of(edge: &mut SimulatedEdge, request: &[u8], content: &[u8], count: u32) -> u64 {
    let before = allocations();
    for _ in 0..count {
        let response = edge.exchange(request);
        assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(response.ends_with(content));
        edge.advance(Duration::from_micros(50));
    }
    allocations() - before
}

#[test]
fn a_request_for_a_cached_file_allocates_nothing() {
    let content = [b'x'; 1024];
    let mut edge = SimulatedEdge::new(&[("1k.txt", &content)]);
    allocations_of(&mut edge, FILE, &content, 100);
    assert_eq!(allocations_of(&mut edge, FILE, &content, 10_000), 0);
}

#[test]
fn a_bounded_request_allocates_nothing() {
    let request = b"GET /bounded/hello HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let mut edge = SimulatedEdge::new(&[]);
    let hello = SimulatedEdge::HELLO.as_bytes();
    allocations_of(&mut edge, request, hello, 100);
    assert_eq!(allocations_of(&mut edge, request, hello, 10_000), 0);
}

/// What it is lent it may keep.
#[test]
fn a_request_of_a_handler_is_one_allocation() {
    let request = b"GET /handler HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n";
    let mut edge = SimulatedEdge::new(&[]);
    let hello = SimulatedEdge::HELLO.as_bytes();
    allocations_of(&mut edge, request, hello, 100);
    assert_eq!(allocations_of(&mut edge, request, hello, 10_000), 10_000);
}

#[test]
fn a_proxied_request_allocates_nothing() {
    let mut edge = SimulatedEdge::new(&[]);
    let hello = SimulatedEdge::HELLO.as_bytes();
    allocations_of(&mut edge, APP, hello, 100);
    assert_eq!(allocations_of(&mut edge, APP, hello, 10_000), 0);
}
