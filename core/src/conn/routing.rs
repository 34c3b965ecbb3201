//! From a complete head to whoever answers it, and back.
//!
//! Owns the part of [`Client`] that knows routes and their actions.

use super::address_text::AddressText;
use super::client::{Client, State};
use super::content::Content;
use super::memory::Pressure;
use super::own_answer::{self, COPY_MOST, Own};
use super::piece::Piece;
use super::relay::{End, Failure, Relay};
use super::request_id::RequestId;
use super::world::{Meta, Notice, Whole, World};
use crate::access_log::Record;
use crate::files::{Ask, AskFields, FileContent, FileReply, Step};
use crate::handler::Response;
use crate::http::{
    self, CleanTarget, FieldRoom, Forwarded, Framing, HeadLimits, HeadSearch, Origin, Reject,
    RequestHead, RequestPath,
};
use crate::io::Token;
use crate::route::{Action, Beyond, Bounds, Routed};
use bytes::Bytes;
use std::time::Duration;

impl Client {
    /// Handles the request at the start of `bytes`, if its head is there; says how many bytes it
    /// took, or 0.
    pub(super) fn on_head_bytes(&mut self, bytes: &[u8], w: &mut World) -> usize {
        let limits = HeadLimits {
            bytes: w.limits.head_bytes,
            fields: w.limits.head_fields,
            target_bytes: w.limits.target_bytes,
        };
        let mut room = FieldRoom::default();
        if self.search.is_new()
            && let Some(head) = http::parse_whole_request(bytes, &mut room, &limits)
        {
            self.on_head(&head, bytes, w);
            return head.len;
        }
        match http::parse_arriving_request(&mut self.search, bytes, &mut room, &limits) {
            Ok(None) => 0,
            Ok(Some(head)) => {
                self.search = HeadSearch::default();
                self.on_head(&head, bytes, w);
                head.len
            }
            Err(reject) => {
                self.on_refused_head(bytes, w);
                self.refuse(reject, w);
                bytes.len()
            }
        }
    }

    /// What cannot be parsed is logged by its first line. Nothing else is known of it but that an
    /// answer to HEAD has no content, whatever it says (RFC 9110 §9.3.2).
    pub(super) fn on_refused_head(&mut self, bytes: &[u8], w: &mut World) {
        let to_head = bytes.strip_prefix(b"\r\n").unwrap_or(bytes).starts_with(b"HEAD ");
        self.meta = Meta { to_head, ..Client::NO_REQUEST };
        if w.log.is_some() {
            self.note(Record::refused(bytes, self.peer, w.now, w.buffers.small()));
        }
    }

    fn on_head(&mut self, head: &RequestHead<'_, '_>, bytes: &[u8], w: &mut World) {
        self.requests += 1;
        self.permit = None;
        w.counters.requests.count();
        self.has_said_close = !head.keep_alive;
        let origin = self.origin(head, w);
        let is_last = self.requests >= w.limits.keepalive_requests || w.draining;
        self.meta = Meta {
            version: head.version,
            keep_alive: head.keep_alive && !is_last,
            to_head: head.method == "HEAD",
            idempotent: http::is_idempotent(head.method),
            id: origin.request_id.map_or_else(|| w.next_request_id(), RequestId::given),
        };
        if w.log.is_some() {
            self.note(Record::new(head, origin.client, w.now, w.buffers.small()));
        }
        if w.memory.pressure() >= Pressure::Requests {
            self.unread_content_ends(head);
            self.answer_without_memory(w);
        } else if let Err(reject) = self.route(head, &origin, bytes.len() > head.len, w) {
            self.refuse(reject, w);
        }
    }

    /// Who the request is from, as far as we believe it.
    fn origin<'b>(&self, head: &RequestHead<'_, 'b>, w: &World) -> Origin<'b> {
        if w.policy.trusts(self.peer.ip()) {
            Origin::told_by(self.peer, head, |address| w.policy.trusts(address))
        } else {
            Origin::of_peer(self.peer)
        }
    }

    fn route(
        &mut self,
        head: &RequestHead<'_, '_>,
        origin: &Origin<'_>,
        has_more: bool,
        w: &mut World,
    ) -> Result<(), Reject> {
        if matches!(head.method, "CONNECT" | "TRACE") {
            self.unread_content_ends(head);
            // For no resource (RFC 9110 §15.6.2); 405 would have to name what is allowed.
            self.answer_status(501, w);
            return Ok(());
        }
        if head.target == "*" {
            // OPTIONS * asks about the server itself (RFC 9110 §9.3.7).
            self.unread_content_ends(head);
            self.answer_own(&Own { status: 204, fields: &[], content: Bytes::new() }, w);
            return Ok(());
        }
        let CleanTarget { target, path_len, is_literal } = http::clean_and_look(head.target)?;
        let path = &target[..path_len];
        let found = match is_literal {
            true => find(head.host, &RequestPath::literal(path), w),
            false => find_decoded(head.host, path, w)?,
        };
        let Some((Routed { action, bounds }, rest)) = found else {
            self.unread_content_ends(head);
            self.answer_status(404, w);
            return Ok(());
        };
        if let Some(bounds) = bounds
            && let Err(beyond) = self.enter(&bounds, origin, w)
        {
            self.unread_content_ends(head);
            self.answer_beyond(beyond, w);
            return Ok(());
        }
        match action {
            Action::Files(route) => {
                self.unread_content_ends(head);
                self.begin_file(head, &target, path, route, rest, w);
            }
            Action::Fixed(fixed) => {
                self.unread_content_ends(head);
                let content = own_answer::write_response(&mut self.output, &fixed, &self.meta, w);
                self.on_answered(fixed.status, content, w);
            }
            Action::Redirect(redirect) => {
                self.unread_content_ends(head);
                let location = redirect.location(&target);
                let fields = [("Location", location.as_str())];
                let content = Bytes::new();
                self.answer_own(&Own { status: redirect.code(), fields: &fields, content }, w);
            }
            action => {
                self.check_length(head, w)?;
                let canonical = self.canonical_head(head, &target, origin, w);
                self.begin_content(head, canonical, has_more, action, w);
            }
        }
        Ok(())
    }

    /// Takes a place among the requests of the same address.
    fn enter(&mut self, bounds: &Bounds, origin: &Origin<'_>, w: &World) -> Result<(), Beyond> {
        self.permit = bounds.enter(origin.client.ip(), w.now)?;
        Ok(())
    }

    /// What is answered without its content ends the connection if it has any.
    fn unread_content_ends(&mut self, head: &RequestHead<'_, '_>) {
        if head.framing != Framing::Length(0) {
            self.meta.keep_alive = false;
            self.linger = true;
        }
    }

    fn check_length(&self, head: &RequestHead<'_, '_>, w: &World) -> Result<(), Reject> {
        match head.framing {
            Framing::Length(length) if length > w.limits.content_max => {
                Err(Reject::ContentTooLarge)
            }
            _ => Ok(()),
        }
    }

    fn begin_content(
        &mut self,
        head: &RequestHead<'_, '_>,
        canonical: Vec<u8>,
        has_more: bool,
        action: Action,
        w: &mut World,
    ) {
        let meta = self.meta;
        if head.framing == Framing::Length(0) {
            let announced =
                head.fields.iter().any(|f| f.name.eq_ignore_ascii_case("Content-Length"));
            let content_length = announced.then_some(0);
            let (head, content, file) = (canonical, Vec::new(), None);
            let whole = Whole { head, content, file, content_length, meta };
            self.hand_off(whole, action, w);
            return;
        }
        let mut content = Content::new(canonical, head.framing, meta, action, w);
        if w.memory.pressure() >= Pressure::Content
            || !content.reserve(Pressure::Content, &mut self.counted, &mut w.memory)
        {
            self.state = State::Content(Box::new(content));
            self.refuse_without_memory(w);
            return;
        }
        self.receive_deadline = content.late_at(&w.limits, w.now);
        self.state = State::Content(Box::new(content));
        self.spool_on(w);
        if head.expects_continue && !has_more && matches!(self.state, State::Content(_)) {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.output.head(&mut w.buffers).extend_from_slice(interim);
            self.note_interim();
        }
    }

    fn canonical_head(
        &self,
        head: &RequestHead<'_, '_>,
        target: &str,
        origin: &Origin<'_>,
        w: &mut World,
    ) -> Vec<u8> {
        let (mut ip, mut local) = (AddressText::default(), AddressText::default());
        ip.push_ip(origin.client.ip());
        local.push_address(self.local);
        let facts = Forwarded {
            peer_ip: ip.as_bytes(),
            peer_port: origin.client.port(),
            local: local.as_bytes(),
            scheme: origin.scheme,
            host: origin.host,
            request_id: self.meta.id.as_bytes(),
        };
        let mut canonical = w.buffers.small();
        let dropped = http::write_request(&mut canonical, head, target, &facts);
        w.counters.fields_dropped.add(dropped as u64);
        canonical
    }

    /// Nothing of the request is still on its way: whoever answers it may see it now (I1).
    pub(super) fn hand_off(&mut self, whole: Whole, action: Action, w: &mut World) {
        self.receive_deadline = None;
        let client = self.token;
        match action {
            Action::Pool(pool) => {
                self.state = State::HandedOver(None);
                w.notify(Notice::Dispatch { client, pool, whole });
            }
            Action::Handler(handler) => {
                self.state = State::Handler;
                self.receive_deadline = Some(w.now.after(w.limits.handler_timeout));
                w.notify(Notice::Handle { client, handler, whole });
            }
            _ => unreachable!("only pools and handlers take content"),
        }
    }

    /// A handler has answered, or given up its right to.
    pub(crate) fn on_reply(&mut self, response: Option<Response>, w: &mut World) {
        if !matches!(self.state, State::Handler) {
            return;
        }
        self.meta.keep_alive &= !w.draining;
        match response {
            Some(response) => {
                let content =
                    own_answer::write_response(&mut self.output, &response, &self.meta, w);
                self.on_answered(response.status, content, w);
            }
            None => self.answer_status(500, w),
        }
        self.after_answer(w);
    }

    /// A handler has not answered. As it still may, no later request may wait for an answer.
    pub(super) fn on_handler_late(&mut self, w: &mut World) {
        w.counters.handler_timeout.count();
        self.meta.keep_alive = false;
        self.answer_status(504, w);
        self.settle(w);
    }

    /// The exchange has something, or has ended.
    pub(crate) fn on_relay(&mut self, relay: &mut Relay, exchange: Token, w: &mut World) {
        self.would_seem_whole = relay.ends_by_close;
        while self.has_room_for_relay(w)
            && let Some(piece) = relay.take(&mut w.buffers)
        {
            self.output.push(piece);
        }
        relay.is_flushed = self.output.is_flushed();
        self.note_relay(relay);
        if let Some(end) = relay.end() {
            w.notify(Notice::LetGo { exchange, permit: None, record: None });
            self.state = State::HandedOver(None);
            match end {
                End::Complete => {
                    self.meta.keep_alive &= relay.keep_alive;
                    self.on_queued(relay.status, relay.content_bytes, w);
                }
                // It ends before its end, which the client can tell. A reset would also eat the
                // answers before it.
                End::Broken => {
                    self.meta.keep_alive = false;
                    self.linger = true;
                    self.on_queued(relay.status, relay.content_bytes, w);
                    if relay.ends_by_close {
                        self.state = State::BreakingOff;
                    }
                }
                End::Failed(failure) => self.answer_failure(failure, w),
                End::Left => {
                    self.unsent_records.extend(self.record.take());
                    self.end(w);
                }
            }
            self.after_answer(w);
        } else {
            self.settle(w);
        }
    }

    /// Where memory is scarce one piece is here, and not three.
    fn has_room_for_relay(&self, w: &World) -> bool {
        match w.memory.pressure() {
            Pressure::None => self.output.has_room(),
            _ => self.output.is_flushed(),
        }
    }

    /// Requests that waited behind the one just answered get their turn.
    pub(super) fn after_answer(&mut self, w: &mut World) {
        if matches!(self.state, State::Head) && !self.input.is_empty() {
            self.consume_input(w);
        }
        self.settle(w);
    }

    fn begin_file(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &str,
        path: &str,
        route: usize,
        rest: &str,
        w: &mut World,
    ) {
        let mut fields = AskFields::default();
        head.fields.iter().for_each(|field| fields.add(field.name, field.value));
        let ask = Ask {
            method: head.method.into(),
            original_path: path.into(),
            query: target.split_once('?').map(|(_, query)| query.into()),
            boundary: fields.range.as_ref().map(|_| w.next_boundary()).unwrap_or_default(),
            fields,
        };
        let step = w.files.begin(&w.file_routes[route], rest, ask, w.now, w.unix_seconds);
        self.on_file_step(step, w);
    }

    /// True: it is answered.
    pub(super) fn on_file_step(&mut self, step: Step, w: &mut World) -> bool {
        match step {
            Step::Do(op, pending) => {
                self.file_op = true;
                // It is our disk that is waited for.
                self.receive_deadline = None;
                self.state = State::File(pending);
                w.submit(self.token, op);
                false
            }
            Step::Reply(reply) => {
                self.meta.keep_alive &= !w.draining;
                self.answer_file(reply, w);
                true
            }
        }
    }

    fn answer_file(&mut self, reply: FileReply, w: &mut World) {
        let Meta { version, keep_alive, to_head, .. } = self.meta;
        let head = self.output.head(&mut w.buffers);
        reply.write_head(head, version, keep_alive, &w.date);
        let length = if to_head { 0 } else { reply.content_length() };
        if !to_head {
            self.queue_file_content(reply.content, w);
        }
        self.on_answered(reply.status, length, w);
    }

    fn queue_file_content(&mut self, content: FileContent, w: &mut World) {
        match content {
            FileContent::None => {}
            FileContent::Memory(content) => {
                own_answer::write_content(&mut self.output, &content, w)
            }
            FileContent::File { file, offset, len } => {
                self.output.push(Piece::File { file, offset, len });
            }
            FileContent::Parts(parts) => {
                for (head, content) in parts {
                    self.output.head(&mut w.buffers).extend_from_slice(&head);
                    self.queue_file_content(content, w);
                }
            }
        }
    }

    fn answer_failure(&mut self, failure: Failure, w: &mut World) {
        let why = match failure {
            Failure::QueueFull => "Too many requests wait.",
            Failure::QueueTimeout => "No worker became free in time.",
            Failure::NoWorker => "No worker of the application is there.",
            Failure::BadGateway => "The application failed while it had this request.",
            Failure::Deadline => "The application did not answer in time.",
        };
        let id = self.meta.id;
        let fields = [("X-Request-Id", id.as_str()), ("Retry-After", "1")];
        let extra = if failure.status() == 503 { &fields[..] } else { &fields[..1] };
        self.meta.keep_alive &= !w.draining;
        let status = failure.status();
        let content = own_answer::write_error(&mut self.output, status, why, extra, &self.meta, w);
        self.on_answered(status, content, w);
    }

    /// RFC 6585 §4.
    fn answer_beyond(&mut self, beyond: Beyond, w: &mut World) {
        let (why, wait) = match beyond {
            Beyond::Rate(wait) => {
                w.counters.rate.count();
                ("Too many requests in a short time.", wait)
            }
            Beyond::Concurrent => {
                w.counters.concurrent.count();
                ("Too many requests at the same time.", Duration::ZERO)
            }
        };
        // The next whole second (RFC 9110 §10.2.3).
        let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1).to_string();
        let fields = [("Retry-After", seconds.as_str())];
        let content = own_answer::write_error(&mut self.output, 429, why, &fields, &self.meta, w);
        self.on_answered(429, content, w);
    }

    fn answer_status(&mut self, status: u16, w: &mut World) {
        let content = own_answer::write_error(&mut self.output, status, "", &[], &self.meta, w);
        self.on_answered(status, content, w);
    }

    fn answer_own(&mut self, answer: &Own<'_>, w: &mut World) {
        let content = own_answer::write(&mut self.output, answer, &self.meta, w);
        self.on_answered(answer.status, content, w);
    }
}

/// The route of a request, and what of its path is behind the route's.
fn find<'t>(host: &str, path: &RequestPath<'t, '_>, w: &World) -> Option<(Routed, &'t str)> {
    w.policy.routes.find(host, path).map(|found| (found.action.clone(), found.rest))
}

/// The same where a path has to be decoded first.
fn find_decoded<'t>(
    host: &str,
    path: &'t str,
    w: &mut World,
) -> Result<Option<(Routed, &'t str)>, Reject> {
    let mut room = w.buffers.small();
    let found = RequestPath::read(path, &mut room).map(|path| find(host, &path, w));
    w.buffers.give(room);
    found
}

const _: () = assert!(COPY_MOST <= super::buffers::Buffers::SMALL);
