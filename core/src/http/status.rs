//! Statuses and their phrases (RFC 9110 §15 and the registry).
//!
//! Owns the phrases. Must not know who answers.

macro_rules! statuses {
    ($($status:literal $phrase:literal)*) => {
        /// The standard reason phrase of a status, or an empty string.
        pub fn reason_phrase(status: u16) -> &'static str {
            match status {
                $($status => $phrase,)*
                _ => "",
            }
        }

        /// A line that says the status, for answers that have nothing else to say.
        pub(crate) fn status_text(status: u16) -> &'static str {
            match status {
                $($status => concat!($status, " ", $phrase, "\n"),)*
                _ => "",
            }
        }
    };
}

statuses! {
    100 "Continue"
    101 "Switching Protocols"
    102 "Processing"
    103 "Early Hints"
    200 "OK"
    201 "Created"
    202 "Accepted"
    203 "Non-Authoritative Information"
    204 "No Content"
    205 "Reset Content"
    206 "Partial Content"
    207 "Multi-Status"
    208 "Already Reported"
    226 "IM Used"
    300 "Multiple Choices"
    301 "Moved Permanently"
    302 "Found"
    303 "See Other"
    304 "Not Modified"
    305 "Use Proxy"
    307 "Temporary Redirect"
    308 "Permanent Redirect"
    400 "Bad Request"
    401 "Unauthorized"
    402 "Payment Required"
    403 "Forbidden"
    404 "Not Found"
    405 "Method Not Allowed"
    406 "Not Acceptable"
    407 "Proxy Authentication Required"
    408 "Request Timeout"
    409 "Conflict"
    410 "Gone"
    411 "Length Required"
    412 "Precondition Failed"
    413 "Content Too Large"
    414 "URI Too Long"
    415 "Unsupported Media Type"
    416 "Range Not Satisfiable"
    417 "Expectation Failed"
    421 "Misdirected Request"
    422 "Unprocessable Content"
    423 "Locked"
    424 "Failed Dependency"
    425 "Too Early"
    426 "Upgrade Required"
    428 "Precondition Required"
    429 "Too Many Requests"
    431 "Request Header Fields Too Large"
    451 "Unavailable For Legal Reasons"
    500 "Internal Server Error"
    501 "Not Implemented"
    502 "Bad Gateway"
    503 "Service Unavailable"
    504 "Gateway Timeout"
    505 "HTTP Version Not Supported"
    506 "Variant Also Negotiates"
    507 "Insufficient Storage"
    508 "Loop Detected"
    510 "Not Extended"
    511 "Network Authentication Required"
}

/// Whether a response with this status never has content (RFC 9110 §6.4.1).
pub(super) fn is_without_content(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_phrase_and_a_line() {
        assert_eq!((reason_phrase(404), status_text(404)), ("Not Found", "404 Not Found\n"));
        assert_eq!((reason_phrase(299), status_text(299)), ("", ""));
    }
}
