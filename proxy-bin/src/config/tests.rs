//! Whole configurations, right and wrong: every error with its line.

use super::*;
use forebay::Files;

/// Seven lines that are right.
pub(crate) const SMALLEST: &str = r#"[server]
listen = ["127.0.0.1:0"]

[[route]]
path = "/"
respond = { content = "hello" }
"#;

fn errors(text: &str) -> Vec<String> {
    let errors = parse(text, Path::new("/x/f.toml")).map(|_| ()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

/// The only error of [`SMALLEST`] with `more` from line 8.
#[track_caller]
fn assert_error(more: &str, line: usize, says: &str) {
    let errors = errors(&format!("{SMALLEST}\n{more}"));
    let [error] = &errors[..] else { panic!("not one error: {errors:?}") };
    assert!(error.starts_with(&format!("/x/f.toml:{line}: ")), "{error}");
    assert!(error.contains(says), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn the_example_of_the_documentation() {
    let config = parse(
        r#"
        [server]
        listen = ["127.0.0.1:8080", "[::]:8080"]
        reactors = "auto"
        access_log = "-"
        user = "www-data"
        group = 33
        [limits]
        client_header_timeout = "10s"
        content_max = "16MiB"
        [[route]]
        path = "/static/"
        files = "site/static"
        index = "index.html"
        cache_control = "max-age=60"
        [[route]]
        host = "Example.COM"
        path = "/"
        pool = "app"
        [[route]]
        path = "/old"
        redirect = "https://example.com/new"
        status = 308
        [[route]]
        path = "/healthz"
        respond = { status = 204 }
        [pool.app]
        socket = "run/app.sock"
        workers = ["worker-bin", "-w", "2", "hello"]
        queue = 1000
        queue_timeout = "10s"
        queue_target = "50ms"
        mode = "660"
        user = 33
        group = "adm"
        allowed_users = ["root", 33]
        "#,
        Path::new("/etc/forebay/f.toml"),
    )
    .unwrap();
    assert_eq!(config.directory, Path::new("/etc/forebay"));
    assert_eq!(config.listen, ["127.0.0.1:8080", "[::]:8080"]);
    assert_eq!((config.reactors, config.access_log), (0, AccessLog::Stdout));
    assert_eq!(config.limits.content_max, 16 << 20);
    let [files, app, old, healthz] = &config.routes[..] else { panic!("four routes") };
    let Target::Files { roots, files } = &files.target else { panic!("files") };
    let site = Path::new("/etc/forebay/site/static");
    assert_eq!((roots.len(), roots[0].value.as_path()), (1, site));
    assert_eq!(**files, Files::new(site).index("index.html").cache_control("max-age=60"));
    assert_eq!((app.host.as_deref(), app.path.as_str()), (Some("example.com"), "/"));
    assert!(matches!(&app.target, Target::Pool(name) if name == "app"));
    let Target::Redirect { to, status } = &old.target else { panic!("redirect") };
    assert_eq!((to.as_str(), *status), ("https://example.com/new", 308));
    assert!(matches!(&healthz.target, Target::Respond { status: 204, .. }));
    let [pool] = &config.pools[..] else { panic!("one pool") };
    let socket = Path::new("/etc/forebay/run/app.sock");
    assert_eq!(pool.socket.value, socket);
    assert_eq!(pool.workers.as_ref().map(Vec::len), Some(4));
    let settings = forebay::Pool::at(socket).queue(1000).queue_timeout(Duration::from_secs(10));
    assert_eq!(pool.settings, settings.queue_target(Duration::from_millis(50)).mode(0o660));
    let text = |name: &Option<At<String>>| name.as_ref().map(|name| name.value.clone()).unwrap();
    assert_eq!((text(&config.user), text(&config.group)), ("www-data".into(), "33".into()));
    assert_eq!((text(&pool.user), text(&pool.group)), ("33".into(), "adm".into()));
    let allowed = pool.allowed_users.iter().flatten();
    assert_eq!(allowed.map(|name| name.value.as_str()).collect::<Vec<_>>(), ["root", "33"]);
    assert_eq!(config.warnings, []);
}

#[test]
fn a_pool_gets_all_that_is_written_of_it() {
    let text = SMALLEST.to_owned()
        + r#"
        [[route]]
        path = "/app/"
        pool = "app"
        [pool.app]
        socket = "/s"
        queue = 7
        queue_timeout = "1s"
        queue_target = "2s"
        deadline = "3s"
        boot_grace = "4s"
        mode = "600"
        "#;
    let config = parse(&text, Path::new("/f.toml")).unwrap();
    let seconds = Duration::from_secs;
    let settings = forebay::Pool::at("/s").queue(7).mode(0o600);
    let settings = settings.queue_timeout(seconds(1)).queue_target(seconds(2));
    assert_eq!(config.pools[0].settings, settings.deadline(seconds(3)).boot_grace(seconds(4)));
}

#[test]
fn files_routes() {
    let text = SMALLEST.to_owned()
        + r#"
        [[route]]
        path = "/f/"
        files = ["a", "/b"]
        fallback = "app.html"
        precompressed = true
        immutable = true
        symlinks = "deny"
        fields = { X-A = "1" }
        rules = [{ match = "*.html", cache_control = "no-cache", fields = { X-B = "2" } }]
        "#;
    let config = parse(&text, Path::new("/x/f")).unwrap();
    let Target::Files { files, .. } = &config.routes.last().unwrap().target else { panic!() };
    let rule = forebay::FileRule::matching("*.html").cache_control("no-cache").field("X-B", "2");
    let expected = Files::new("/x/a")
        .then("/b")
        .fallback("app.html")
        .precompressed(true)
        .immutable(true)
        .symlinks(forebay::Symlinks::Deny)
        .field("X-A", "1")
        .rule(rule);
    assert_eq!(**files, expected);
}

#[test]
fn files_routes_that_make_no_sense() {
    let assert_wrong = |keys: &str, message: &str| {
        let text = format!("[[route]]\npath = \"/f/\"\nfiles = \"x\"\n{keys}");
        assert_error(&text, 11, message);
    };
    assert_wrong("fallback = \"../x\"", "fallback \"../x\": the fallback is the name of a file");
    assert_wrong("precompressed = 1", "must be true or false, not integer");
    assert_wrong("symlinks = \"none\"", "symlinks \"none\": write \"beneath\" or \"deny\"");
    assert_wrong("fields = { ETag = \"x\" }", "ETag \"x\": this field is written by the server");
    assert_wrong("fields = { X-A = 1 }", "`X-A` in `fields` must be a string");
    assert_wrong("fields = \"X-A: 1\"", "must be a table: {");
    assert_wrong("rules = { match = \"*\" }", "must be a list: [{");
    assert_wrong("rules = [{ cache_control = \"x\" }]", "write match = \"*.html\"");
    assert_wrong("rules = [{ match = \"/a\" }]", "\"/a\": a pattern begins beneath the directory");
    assert_wrong("rules = [{ match = \"a**\" }]", "match \"a**\": a pattern consists of names");
    assert_wrong("rules = [{ match = \"*\", fields = { Date = \"x\" } }]", "Date \"x\": this");
    assert_wrong("rules = [{ match = \"*\", field = {} }]", "unknown key `field` in `rules`");
    assert_error(
        "[[route]]\npath = \"/f/\"\nredirect = \"/\"\nimmutable = true",
        11,
        "`immutable` in [[route]] belongs to `files`, not `redirect`",
    );
}

#[test]
fn access_log_is_on_unless_said_otherwise() {
    assert_eq!(parse(SMALLEST, Path::new("/x/f")).unwrap().access_log, AccessLog::Stdout);
    let with = |value: &str| {
        let text = SMALLEST.replace("[server]", &format!("[server]\naccess_log = \"{value}\""));
        parse(&text, Path::new("/x/f")).unwrap().access_log
    };
    assert_eq!(with("off"), AccessLog::Off);
    let expected = At { value: PathBuf::from("/x/log/a"), line: 2 };
    assert_eq!(with("log/a"), AccessLog::File(expected));
}

#[test]
fn not_toml() {
    assert_error("[limits\n", 8, "`[limits` is not TOML: ");
    assert_error(
        "[limits]\npipelined = 1\npipelined = 2\n",
        10,
        "`pipelined = 2` is not TOML: duplicate key",
    );
}

#[test]
fn unknown_keys_with_a_suggestion() {
    assert_error(
        "[pool.app]\nsocket = \"s\"\nquue = 1",
        10,
        "unknown key `quue` in [pool.app], did \
                  you mean `queue`?",
    );
    assert_error("[limit]", 8, "unknown key `limit` in the file, did you mean `limits`?");
    assert_error("[limits]\nheader_timeout = \"1s\"", 9, "did you mean `client_header_timeout`?");
    assert_error("[[route]]\npath = \"/a\"\nfles = \"x\"\nfiles = \"x\"", 10, "mean `files`?");
    assert_error("[[route]]\npath = \"/a\"\nrespond = { body = \"x\" }", 10, "known are: status");
}

#[test]
fn wrong_types() {
    assert_error("[limits]\nsend_timeout = 10", 9, "= 10 has no unit, write for example \"10s\"");
    assert_error("[[route]]\npath = 1\nfiles = \"x\"", 9, "`path` in [[route]] must be a string");
    assert_error("[pool.app]\nsocket = \"\"", 9, "is empty");
    assert_error("[pool]\napp = 1", 9, "[pool.app] must be a table, not integer");
    assert_error(
        "[pool.app]\nsocket = \"s\"\nworkers = \"worker-bin\"",
        10,
        "`workers` in [pool.app] must be a list of strings",
    );
    assert_error("[pool.app]\nsocket = \"s\"\nworkers = []", 10, "is empty");
    let text = SMALLEST.replace("[[route]]", "[route]");
    assert_eq!(
        errors(&text),
        ["/x/f.toml:4: `route` must be a list: write [[route]], not [route]"]
    );
}

#[test]
fn the_server_table() {
    let with = |line: &str| errors(&SMALLEST.replace("[server]", &format!("[server]\n{line}")));
    for (line, says) in [
        (
            "reactors = \"all\"",
            "f.toml:2: `reactors` in [server] must be \"auto\" or a number from 1",
        ),
        (
            "reactors = 0",
            "f.toml:2: `reactors` in [server] = 0 is not possible: write \"auto\" or 1",
        ),
        ("reactors = -1", "f.toml:2: `reactors` in [server] = -1 is not possible: write \"auto\""),
        ("access_log = true", "f.toml:2: `access_log` in [server] must be a string, not boolean"),
    ] {
        assert!(with(line)[0].contains(says), "{:?}", with(line));
    }
    let with = |listen: &str| errors(&SMALLEST.replace("[\"127.0.0.1:0\"]", listen));
    for (listen, says) in [
        ("[\"8080\"]", "f.toml:2: listen address \"8080\" is not ADDRESS:PORT"),
        ("[\"localhost:80\"]", "f.toml:2: listen address \"localhost:80\" is not"),
        (
            "[\"[::]:80\",\n\"[::]:80\"]",
            "f.toml:3: listen address \"[::]:80\" is already on line 2",
        ),
        (
            "[\"127.0.0.1:80\",\n\"0.0.0.0:80\"]",
            "f.toml:3: listen address \"0.0.0.0:80\" overlaps with \"127.0.0.1:80\" on line 2",
        ),
        ("[\"[::1]:80\",\n\"[::]:80\"]", "\"[::]:80\" overlaps with \"[::1]:80\" on line 2"),
        ("[]", "f.toml:2: `listen` in [server] is empty"),
    ] {
        assert!(with(listen)[0].contains(says), "{:?}", with(listen));
    }
    let both = "[\"0.0.0.0:80\", \"[::]:80\", \"127.0.0.1:0\", \"0.0.0.0:0\"]";
    let both = SMALLEST.replace("[\"127.0.0.1:0\"]", both);
    assert_eq!(parse(&both, Path::new("f.toml")).unwrap().listen.len(), 4);
}

#[test]
fn what_is_missing() {
    let empty = errors("");
    assert_eq!(empty.len(), 2);
    assert!(empty[0].starts_with("/x/f.toml: [server] is missing"), "{empty:?}");
    assert!(empty[1].contains("nothing would be served: write a [[route]]"), "{empty:?}");
    let text = SMALLEST.replace("listen", "reactors = 1 #");
    assert!(errors(&text)[0].contains("f.toml:1: `listen` in [server] is missing"));
    assert_error("[[route]]\nfiles = \"x\"", 8, "`path` in [[route]] is missing");
    assert_error("[[route]]\npath = \"/a\"", 8, "has no target");
    assert_error("[pool.app]", 8, "`socket` in [pool.app] is missing");
    let routed = "[[route]]\npath = \"/a\"\npool = \"app\"\n[pool.app]\nsocket = \"\"";
    assert_error(routed, 12, "`socket` in [pool.app] is empty");
}

#[test]
fn routes_in_conflict() {
    assert_error("[[route]]\npath = \"/\"\nfiles = \"x\"", 8, "route \"/\" is already on line 4");
    let two = "[[route]]\npath = \"/a\"\nhost = \"h\"\nfiles = \"x\"\n";
    for (first, second) in [("/@x/", "/%40x/"), ("/a/b", "/a%2Fb"), ("/a/", "/a//")] {
        let route = |path| format!("[[route]]\npath = \"{path}\"\nfiles = \"x\"\n");
        assert_error(&[route(first), route(second)].concat(), 11, "is already on line 8");
    }
    assert_error(&two.repeat(2), 12, "\"/a\" of host \"h\" is already on line 8");
    let same = format!("{two}{}", two.replace("\"h\"", "\"H.\""));
    assert_error(&same, 12, "\"/a\" of host \"h\" is already on line 8");
    assert_error(
        "[[route]]\npath = \"/a\"\nfiles = \"x\"\nredirect = \"/\"",
        8,
        "has 2 targets: keep one of [\"files\", \"redirect\"]",
    );
    assert_error(
        "[[route]]\npath = \"/a\"\nfiles = \"x\"\nstatus = 301",
        11,
        "`status` in [[route]] belongs to `redirect`, not `files`",
    );
}

#[test]
fn values_that_mean_nothing() {
    let route = |line: &str| format!("[[route]]\npath = \"/a\"\n{line}");
    assert_error(&route("pool = \"ap\"\n[pool.app]\nsocket = \"s\""), 10, "no [pool.ap], did you");
    assert_error(&route("pool = \"app\""), 10, "no [pool.app]; known are: none");
    assert_error(
        &route("redirect = \"example.com\""),
        10,
        "redirect \"example.com\" is not a place",
    );
    for place in ["https://{host}{target}", "https://$host$request_uri", "/${uri}"] {
        assert_error(&route(&format!("redirect = {place:?}")), 10, "write the host itself");
    }
    assert_error(&route("redirect = \"/\"\nstatus = 200"), 11, "status 200 does not redirect");
    assert_error(&route("respond = { status = 99 }"), 10, "status 99 is not a final one");
    for status in [204, 205, 304] {
        let respond = format!("respond = {{ status = {status}, content = \"x\" }}");
        let message = format!("status {status} has no content: leave `content` out, or write");
        assert_error(&route(&respond), 10, &message);
    }
    assert_error(
        &route("respond = { content_type = \"a\\nb\" }"),
        10,
        "is not plain ASCII on one line",
    );
    assert_error(
        &route("files = \"x\"\nindex = \"a/b\""),
        11,
        "index \"a/b\": the index of a directory is",
    );
    assert_error(
        &route("files = \"x\"\ncache_control = \"a\\nb\""),
        11,
        "cache_control \"a\\nb\": the value of Cache-Control contains a control character",
    );
    assert_error(&route("host = \"h:80\"\nfiles = \"x\""), 10, "host \"h:80\" is not a host");
    for (host, says) in [
        ("_", "leave `host` out"),
        (".example.com", "write a route for each"),
        ("*.example.com", "write a route for each"),
    ] {
        assert_error(&route(&format!("host = {host:?}\nfiles = \"x\"")), 10, says);
    }
    assert_error("[[route]]\npath = \"a\"\nfiles = \"x\"", 9, "path \"a\" is not a path prefix");
    assert_error("[[route]]\npath = \"/a/../b\"\nfiles = \"x\"", 9, "is not a path prefix");
    for (path, what) in [
        ("/caf%c3%a9", "is not in normal form: write \"/caf%C3%A9\""),
        ("/%7euser", "is not in normal form: write \"/~user\""),
        ("/%61/%2e%2e/", "is not in normal form: write \"/\""),
        ("/100%", "is in no request: write % itself as %25"),
        ("/a/..%2Fb", "is in no request: `..` is beside %2F"),
    ] {
        let text = format!("[[route]]\npath = \"{path}\"\nfiles = \"x\"");
        assert_error(&text, 9, &format!("path \"{path}\" {what}"));
    }
    let normal = route("files = \"x\"").replace("\"/\"", "\"/caf%C3%A9%25%2F//~a/\"");
    assert!(parse(&format!("{SMALLEST}{normal}"), Path::new("/x/f.toml")).is_ok(), "{normal}");
}

#[test]
fn pools_that_cannot_work() {
    let route = "[[route]]\npath = \"/a\"\npool = \"app\"\n[pool.app]\n";
    let long = format!("{route}socket = \"{}.sock\"", "x".repeat(96));
    assert_error(&long, 12, "is too long, 104 bytes of at most 103: write a shorter one");
    let ok = format!("{SMALLEST}{route}socket = \"{}.sock\"", "x".repeat(95));
    assert!(parse(&ok, Path::new("/x/f.toml")).is_ok());
    assert_error(
        &format!("{route}socket = \"s\"\ndeadline = \"0s\""),
        13,
        "`deadline` in [pool.app]",
    );
    assert_error(&format!("{route}socket = \"s\"\n[pool.b]\nsocket = \"s\""), 14, "also that of");
    let with = |line: &str| format!("{route}socket = \"s\"\n{line}");
    assert_error(&with("queue_target = \"0s\""), 13, "`queue_target` in [pool.app] must be more");
    for mode in ["888", "rw", "1777", "+60"] {
        let says = format!("mode \"{mode}\" is not a mode: write three octal digits");
        assert_error(&with(&format!("mode = \"{mode}\"")), 13, &says);
    }
    assert_error(&with("mode = 660"), 13, "`mode` in [pool.app] must be a string, not integer");
    assert_error(&with("user = true"), 13, "must be a name or a number, not boolean");
    assert_error(&with("allowed_users = \"root\""), 13, "must be a list of names or numbers");
    assert_error("[pool.\"a b\"]\nsocket = \"s\"", 8, "pool name \"a b\"");
}

#[test]
fn a_pool_without_route_is_left_out_with_a_warning() {
    let text = format!("{SMALLEST}\n[pool.app]\nsocket = \"s\"\n");
    let config = parse(&text, Path::new("/x/f.toml")).unwrap();
    assert!(config.pools.is_empty());
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].starts_with("/x/f.toml:8: no route leads to [pool.app]"), "{warnings:?}");
}

#[test]
fn several_errors_come_together_in_order() {
    let text = "[[route]]\npath = \"x\"\nfiles = \"a\"\n[server]\nlisten = [\"1\"]\nquick = 1\n";
    let lines: Vec<_> =
        errors(text).iter().map(|e| e.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["2", "5", "6"]);
}

#[test]
fn users_that_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f.toml");
    let text = SMALLEST.replace("[server]", "[server]\nuser = \"nobody-here\"")
        + "[[route]]\n"
        + "path = \"/a/\"\npool = \"app\"\n[pool.app]\nsocket = \"s\"\ngroup = \"none-here\"\n"
        + "allowed_users = [\"root\", \"nor-here\"]\n";
    std::fs::write(&file, text).unwrap();
    let errors: Vec<_> = load(&file).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].contains("f.toml:2: there is no user `nobody-here`: create"), "{errors:?}");
    assert!(errors[1].contains("f.toml:13: there is no group `none-here`"), "{errors:?}");
    assert!(errors[2].contains("f.toml:14: there is no user `nor-here`"), "{errors:?}");
}

#[test]
fn what_is_missing_around_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f.toml");
    let text = format!(
        "{SMALLEST}[[route]]\npath = \"/s/\"\nfiles = \"site\"\n[[route]]\npath = \"/a/\"\n\
         pool = \"app\"\n[pool.app]\nsocket = \"run/app.sock\"\nworkers = [\"no-such-program\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    let errors: Vec<_> = load(&file).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors[0].contains("f.toml:9: files: directory \"") && errors[0].contains("/site\" cannot")
    );
    assert!(errors[1].contains("f.toml:14: socket \""), "{errors:?}");
    assert!(errors[2].contains("f.toml:15: workers of [pool.app]: no program `no-such-program`"));
    let missing = load(&directory.path().join("none.toml")).unwrap_err();
    assert!(
        missing[0].to_string().contains("none.toml: cannot read the configuration: No such file")
    );
}

#[test]
fn trusted_proxies_are_networks() {
    let with = |value: &str| {
        SMALLEST.replace("[server]", &format!("[server]\ntrusted_proxies = [{value}]"))
    };
    let good = with("\"10.0.0.0/8\", \"2001:db8::1\"");
    let trusted = parse(&good, Path::new("/x/f")).unwrap().trusted_proxies;
    let trusted: Vec<_> = trusted.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["10.0.0.0/8", "2001:db8::1/128"]);
    let errors = errors(&with("\n\"lan\",\n\"::/129\""));
    let [lan, long] = &errors[..] else { panic!("not two errors: {errors:?}") };
    assert!(lan.starts_with("/x/f.toml:3: trusted_proxies: \"lan\" is no network: write"), "{lan}");
    assert!(long.starts_with("/x/f.toml:4: ") && long.contains("::/129"), "{long}");
}

#[test]
fn bounds_of_routes() {
    let bounds = |lines: &str| format!("[[route]]\npath = \"/x\"\nredirect = \"/\"\n{lines}\n");
    let text = format!("{SMALLEST}\n{}", bounds("rate = \"30/m\"\nburst = 5\nconcurrent = 2"));
    let config = parse(&text, Path::new("/x/f")).unwrap();
    let Route { rate, burst, concurrent, .. } = &config.routes[1];
    assert_eq!(*rate, Some((30, Duration::from_secs(60))));
    assert_eq!((*burst, *concurrent), (Some(5), Some(2)));
    assert_error(&bounds("rate = 5"), 11, "`rate` in [[route]] = 5 has no unit, write");
    assert_error(&bounds("burst = 5"), 11, "`burst` in [[route]] goes with `rate`: write");
    assert_error(&bounds("concurrent = 0"), 11, "write 1 or more, or leave it out");
    assert_error(&bounds("rate = \"1/s\"\nburst = 0"), 12, "write 1 or more, or leave it out");
}

#[test]
fn an_empty_list_of_addresses_is_as_good_as_none() {
    let text = SMALLEST.replace("[\"127.0.0.1:0\"]", "[]");
    let expected =
        "/x/f.toml:2: `listen` in [server] is empty: write listen = [\"127.0.0.1:8080\"]";
    assert_eq!(errors(&text), [expected]);
}
