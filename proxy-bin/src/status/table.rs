//! A status for people: a few lines, a table of pools, a table of counters.
//!
//! Owns the form. Must not ask anybody.

use super::{PoolStatus, Status};

/// Ends with a line end. Headings and pools without a worker stand out if it may be coloured.
pub(super) fn table(status: &Status, is_coloured: bool) -> String {
    let style = |style: &'static str| if is_coloured { style } else { "" };
    let (bold, red, plain) = (style("\x1b[1m"), style("\x1b[31m"), style("\x1b[0m"));
    let mut text = summary(status);
    if !status.pools.is_empty() {
        let rows = status.pools.iter().map(pool_row);
        let mut lines = aligned(std::iter::once(POOL.map(str::to_owned)).chain(rows)).into_iter();
        let heading = lines.next().unwrap_or_default();
        text += &format!("\n{bold}{heading}{plain}\n");
        for (line, pool) in lines.zip(&status.pools) {
            let (begin, end) = if pool.slots == 0 { (red, plain) } else { ("", "") };
            text += &format!("{begin}{line}{end}\n");
        }
    }
    let rows = status.counters.iter().map(|(name, count)| [name.clone(), count.to_string()]);
    let mut lines = aligned(std::iter::once(COUNTER.map(str::to_owned)).chain(rows)).into_iter();
    let heading = lines.next().unwrap_or_default();
    text += &format!("\n{bold}{heading}{plain}\n");
    lines.for_each(|line| text += &format!("{line}\n"));
    text
}

fn summary(status: &Status) -> String {
    let Status { pid, state, uptime_seconds, generation, reactors, connections, .. } = status;
    let addresses: Vec<_> = status.addresses.iter().map(|a| format!("http://{a}")).collect();
    let uptime = duration(*uptime_seconds);
    let plural = if *reactors == 1 { "" } else { "s" };
    let mut text = format!(
        "proxy-bin {pid}, {state}, up {uptime}, configuration {generation}, {reactors} \
         reactor{plural}\nlistening on {}\n{} connections, {} of them parked\n",
        addresses.join(", "),
        connections.open,
        connections.parked
    );
    if status.access_log_dropped > 0 {
        text += &format!("{} lines of the access log dropped\n", status.access_log_dropped);
    }
    text
}

fn pool_row(pool: &PoolStatus) -> [String; POOL.len()] {
    let name = pool.name.clone().unwrap_or_else(|| pool.socket.clone());
    let state = match pool {
        PoolStatus { is_routed: false, .. } => "leaving",
        PoolStatus { slots: 0, .. } => "no worker",
        PoolStatus { idle: 0, .. } => "busy",
        _ => "ready",
    };
    let count = |count: u64| count.to_string();
    [
        name,
        state.into(),
        pool.slots.to_string(),
        pool.busy.to_string(),
        pool.idle.to_string(),
        pool.queued.to_string(),
        format!("{:.1}s", pool.oldest_wait_ms as f64 / 1000.0),
        count(pool.queue_full),
        count(pool.queue_timeout),
        count(pool.queue_delay),
        count(pool.stood),
    ]
}

/// The first column on the left, numbers on the right.
fn aligned<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}

/// The two largest units.
fn duration(seconds: u64) -> String {
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m")];
    let parts = parts.into_iter().chain([(seconds % 60, "s")]);
    let parts = parts.skip_while(|(count, unit)| *count == 0 && *unit != "s").take(2);
    parts.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

const POOL: [&str; 11] = [
    "POOL", "STATE", "SLOTS", "BUSY", "IDLE", "QUEUED", "OLDEST", "REFUSED", "TIMEOUTS", "DELAYED",
    "STOOD",
];
const COUNTER: [&str; 2] = ["COUNTER", "COUNT"];

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        serde_json::from_str(
            r#"{"pid": 7, "state": "serving", "uptime_seconds": 3725, "generation": 2,
                "reactors": 1, "addresses": ["127.0.0.1:8080", "[::1]:8080"],
                "connections": {"open": 12, "parked": 8}, "access_log_dropped": 0,
                "pools": [{"name": "app", "socket": "/run/app.sock", "is_routed": true, "slots": 0,
                "busy": 0, "idle": 0, "queued": 3, "oldest_wait_ms": 1500, "queue_full": 1,
                "queue_timeout": 20, "queue_delay": 0, "stood": 0}],
                "counters": {"accepted": 1234, "closed": 7}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_status_is_a_few_tables() {
        let expected = "\
proxy-bin 7, serving, up 1h 2m, configuration 2, 1 reactor
listening on http://127.0.0.1:8080, http://[::1]:8080
12 connections, 8 of them parked

POOL      STATE  SLOTS  BUSY  IDLE  QUEUED  OLDEST  REFUSED  TIMEOUTS  DELAYED  STOOD
app   no worker      0     0     0       3    1.5s        1        20        0      0

COUNTER   COUNT
accepted   1234
closed        7
";
        assert_eq!(table(&status(), false), expected);
    }

    #[test]
    fn colours_change_nothing_else() {
        let coloured = table(&status(), true);
        assert!(coloured.contains("\x1b[31mapp "), "{coloured}");
        let plain = ["\x1b[1m", "\x1b[31m", "\x1b[0m"].iter();
        let plain = plain.fold(coloured, |text, style| text.replace(style, ""));
        assert_eq!(plain, table(&status(), false));
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [(0, "0s"), (59, "59s"), (60, "1m 0s"), (90_061, "1d 1h"), (86_400, "1d 0h")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
