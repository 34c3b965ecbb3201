//! A worker's answers: every form that they may have, and some that they must not.
//!
//! Owns their bytes and files. Must not know when they are sent.

use super::{Fate, SURPLUS, Worker};
use crate::http::slot::GOODBYE;
use crate::reactor::simulation::oracle::Oracle;
use crate::reactor::simulation::request::{Form, answer_content};
use crate::reactor::simulation::response::find;
use crate::reactor::simulation::{Edge, passing};

impl Worker {
    pub(super) fn write_answer(
        &mut self,
        id: usize,
        edge: &Edge,
        oracle: &mut Oracle,
        out: &mut Vec<u8>,
    ) {
        let known = oracle.request(id);
        let (answer, method) = (known.answer, known.method);
        if self.random.chance(50) {
            out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        }
        let head = format!("HTTP/1.1 {} Whatever\r\nX-Answer-To: {id}\r\n", answer.status);
        out.extend_from_slice(head.as_bytes());
        if self.fate == Fate::CloseAfter {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        let content = answer_content(id, answer.len);
        let without_content = method == "HEAD" || matches!(answer.status, 204 | 304);
        let has_content = !without_content && answer.len > 0;
        self.answer_files.clear();
        self.takes_file = false;
        match answer.form {
            _ if self.fate == Fate::Misuse => {
                oracle.on_break(id);
                self.answer_files = passing::misuse(&mut self.random, &edge.kernel, out);
            }
            Form::Length if has_content && self.random.chance(300) => {
                let file = passing::content(&mut self.random, &edge.kernel, content, out);
                self.answer_files = vec![file];
            }
            Form::Length => {
                self.takes_file = has_content && self.can_take_file();
                if self.takes_file {
                    out.extend_from_slice(b"Forebay-Spool: yes\r\n");
                }
                if answer.status != 204 {
                    out.extend_from_slice(format!("Content-Length: {}\r\n", answer.len).as_bytes());
                }
                out.extend_from_slice(b"\r\n");
                if !without_content {
                    out.extend_from_slice(&content);
                }
            }
            _ if without_content => out.extend_from_slice(b"\r\n"),
            Form::UntilClose => {
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&content);
                self.fate = match self.fate {
                    // A shorter one would be whole, too.
                    Fate::DieInHead => Fate::DieInHead,
                    _ => Fate::CloseAfter,
                };
            }
            Form::Chunked => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                let mut rest = content.as_slice();
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(self.random.within(1..=rest.len()));
                    out.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                    rest = after;
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        self.spoil(id, oracle, out);
    }

    /// What else it does would have to be done in the file.
    fn can_take_file(&mut self) -> bool {
        let is_plain = matches!(
            self.fate,
            Fate::Answer | Fate::DieInContent | Fate::Hang | Fate::CloseAfter | Fate::BabbleBefore
        );
        is_plain && self.random.chance(700)
    }

    /// Cuts the answer off, or adds to it, as fate will have it.
    fn spoil(&mut self, id: usize, oracle: &mut Oracle, out: &mut Vec<u8>) {
        let head = find(out, b"X-Answer").expect("an answer");
        match self.fate {
            Fate::DieInHead => {
                oracle.on_break(id);
                out.truncate(self.random.within(0..=head));
            }
            Fate::DieInContent => {
                oracle.on_break(id);
                out.truncate(self.random.within(head..=out.len() - 1));
            }
            Fate::BabbleBehind => {
                out.extend_from_slice(SURPLUS);
            }
            Fate::LeaveAfter => out.extend_from_slice(GOODBYE),
            _ => {}
        }
    }
}
