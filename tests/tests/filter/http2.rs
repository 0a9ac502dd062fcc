//! The same decisions over HTTP/2.

use crate::*;

/// The body of the answer to one HTTP/2 request with prior knowledge (RFC 9113 section 3.3); `None` if Envoy
/// resets the stream or hangs up. Header fields are written as literals (RFC 7541 section 6.2.2).
fn send_http2(address: SocketAddr, fields: &[(&[u8], &[u8])]) -> Option<String> {
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }
    fn literal(block: &mut Vec<u8>, text: &[u8]) {
        // An integer with a prefix of seven bits (RFC 7541 section 5.1).
        let mut rest = text.len();
        if rest < 127 {
            block.push(u8::try_from(rest).unwrap());
        } else {
            block.push(127);
            rest -= 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
        block.extend_from_slice(text);
    }
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GO_AWAY: u8 = 7;
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    let mut message = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    message.extend(frame(SETTINGS, 0, 0, b""));
    message.extend(frame(HEADERS, 0x5, 1, &block));
    let mut connection = TcpStream::connect(address).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    connection.write_all(&message).unwrap();
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).ok()?;
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        connection.read_exact(&mut payload).ok()?;
        let ends = head[4] & 1 == 1;
        match head[3] {
            DATA => {
                body.extend_from_slice(&payload);
                if ends {
                    return String::from_utf8(body).ok();
                }
            }
            HEADERS if ends => return String::from_utf8(body).ok(),
            RESET | GO_AWAY => return None,
            _ => {}
        }
    }
}

#[test]
fn http2_is_decided_like_http1() {
    let (upstream, seen) = witness();
    let envoy = gate(&upstream, &gatekeeper());
    let address = envoy.address("gate").unwrap();
    let send = |path: &[u8], more: &[(&[u8], &[u8])]| {
        let mut fields: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"example.com"),
            (b":path", path),
        ];
        fields.extend_from_slice(more);
        send_http2(address, &fields)
    };
    let passed = || Some("upstream".to_owned());
    let denied = || Some("RBAC: access denied".to_owned());
    let good = alice();
    assert_eq!(send(b"/open", &[]), passed());
    assert_eq!(send(b"/open", &[(b"x-any", b"\xff\xfe")]), passed());
    assert_eq!(send(b"/closed", &[(b"x-any", b"\xff\xfe")]), denied());
    assert_eq!(send(b"/open/secret", &[]), denied());
    assert_eq!(send(b"/open/x/../secret", &[]), denied());
    assert_eq!(send(b"/open", &[(b"x-evil", b"")]), denied());
    assert_eq!(send(b"/token", &[]), denied());
    assert_eq!(
        send(b"/token", &[(b"authorization", &bearer(&good))]),
        passed()
    );
    assert!(
        send(b"/token", &[(b"authorization", b"Bearer \xff")])
            .unwrap()
            .starts_with("Jwt is not in the form")
    );
    // Crumbs may come apart (RFC 9113 section 8.2.3), and each is looked at.
    let crumb = [b"session=", good.as_bytes()].concat();
    assert_eq!(
        send(b"/token", &[(b"cookie", b"a=b"), (b"cookie", &crumb)]),
        passed()
    );
    assert!(
        send(b"/token", &[(b"cookie", b"session=x"), (b"cookie", &crumb)])
            .unwrap()
            .starts_with("Jwt is not")
    );
    // What Envoy must refuse by itself, or decide as the policies say.
    for path in [b"".as_slice(), b"closed", b"*"] {
        assert_ne!(send(path, &[]), passed());
    }
    assert_ne!(send(b"/closed", &[(b":path", b"/open")]), passed());
    assert_ne!(send(b"/closed", &[(b"x-a", b"b\r\nx-c: d")]), passed());
    let nowhere: [(&[u8], &[u8]); 3] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/closed"),
    ];
    assert_ne!(send_http2(address, &nowhere), passed());
    assert_sound(&envoy);
    let payload = payload_of(&good);
    assert!(
        seen.lock()
            .unwrap()
            .iter()
            .all(|request| is_let_through(request, &payload))
    );
}

#[test]
fn a_method_that_http1_refuses_opens_nothing() {
    let (upstream, seen) = witness();
    let envoy = gate(&upstream, &gatekeeper());
    let address = envoy.address("gate").unwrap();
    for method in [b"get".as_slice(), b"options", b"FOO-BAR", b"*"] {
        let send = |path: &[u8], more: &[(&[u8], &[u8])]| {
            let mut fields: Vec<(&[u8], &[u8])> = vec![
                (b":method", method),
                (b":scheme", b"http"),
                (b":authority", b"example.com"),
                (b":path", path),
                (b"origin", b"https://web.example"),
                (b"access-control-request-method", b"GET"),
            ];
            fields.extend_from_slice(more);
            send_http2(address, &fields)
        };
        let refused = send(b"/open", &[(b"authorization", b"Bearer x")]).unwrap();
        assert!(refused.starts_with("Jwt is not in the form"), "{refused}");
        assert_eq!(send(b"/open", &[]).as_deref(), Some("RBAC: access denied"));
    }
    assert_sound(&envoy);
    assert!(seen.lock().unwrap().is_empty());
}
