//! `hello`: the least that an application can do.

use crate::response::Response;

/// 13 bytes, whatever is asked.
pub(super) fn hello() -> Response {
    Response::text("Hello, world!")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Body;

    #[test]
    fn hello_has_13_bytes() {
        let response = hello();
        assert_eq!(response.status(), 200);
        assert!(matches!(response.body(), Body::Bytes(bytes) if bytes == "Hello, world!"));
    }
}
