//! A picture of several figures that depend on a number: a panel for each, a line for each server.
//!
//! Owns SVG. Must not know what is measured.

use crate::plot::{escaped, figure};
use std::fmt::Write;

/// One figure.
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: Vec<Line<'a>>,
}

/// One server's, at each tick where it was measured.
#[derive(Debug, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: Vec<Option<f64>>,
}

impl<'a> Line<'a> {
    /// One for each name, from the figures at each tick.
    pub(crate) fn through(ticks: &[Vec<(&'a str, f64)>]) -> Vec<Line<'a>> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in ticks.iter().flatten() {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let value = |tick: &Vec<(&str, f64)>, name| {
            tick.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
        };
        let line = |name| Line { name, values: ticks.iter().map(|t| value(t, name)).collect() };
        names.into_iter().map(line).collect()
    }
}

/// Side by side, above one legend. Ticks are as far from each other as they come.
pub(crate) fn svg(title: &str, ticks: &[String], panels: &[Panel<'_>]) -> String {
    let width = STEP * panels.len() as f64 + LEFT;
    let names = panels.first().map_or(&[][..], |panel| &panel.lines);
    let height = TOP + HIGH + 60.0 + LEGEND * names.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    for (index, panel) in panels.iter().enumerate() {
        draw(&mut svg, panel, ticks, LEFT + STEP * index as f64);
    }
    for (index, line) in names.iter().enumerate() {
        let y = TOP + HIGH + 50.0 + LEGEND * index as f64;
        let style = style(index);
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y}h40\" {style}/>\n<text x=\"{}\" y=\"{}\">{}</text>",
            LEFT + 50.0,
            y + 5.0,
            escaped(line.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel<'_>, ticks: &[String], left: f64) {
    let values = panel.lines.iter().flat_map(|line| line.values.iter().flatten());
    let most = values.copied().fold(f64::MIN_POSITIVE, f64::max);
    let x = |tick: usize| left + WIDE * tick as f64 / (ticks.len().max(2) - 1) as f64;
    let y = |value: f64| TOP + HIGH - HIGH * value.max(0.0) / most;
    let bottom = TOP + HIGH;
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{}\" fill=\"#666\">{}</text>\n\
         <path d=\"M{left} {TOP}V{bottom}H{}\" fill=\"none\" stroke=\"#222\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">0</text>",
        TOP - 12.0,
        escaped(panel.title),
        left + WIDE,
        left - 6.0,
        TOP + 5.0,
        figure(most),
        left - 6.0,
        bottom + 5.0
    );
    for (index, tick) in ticks.iter().enumerate() {
        let (x, y, tick) = (x(index), bottom + 18.0, escaped(tick));
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{tick}</text>");
    }
    for (index, line) in panel.lines.iter().enumerate() {
        let there = line.values.iter().enumerate();
        let points = there.filter_map(|(tick, value)| Some((x(tick), y((*value)?))));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(svg, "<path d=\"M{}\" {}/>", points.join("L"), style(index));
    }
}

/// Servers come in pairs, one thread and two: one colour, the second dashed.
fn style(index: usize) -> String {
    let color = ["#1a7f5a", "#4a6fa5", "#b5651d", "#777777"][index / 2 % 4];
    let dashes = if index % 2 == 1 { " stroke-dasharray=\"5 4\"" } else { "" };
    format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"{dashes}")
}

const TOP: f64 = 60.0;
const LEFT: f64 = 60.0;
const WIDE: f64 = 210.0;
const STEP: f64 = 290.0;
const HIGH: f64 = 180.0;
const LEGEND: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_what_was_measured() {
        let ticks = [vec![("one", 1.0), ("two", 2.0)], vec![("two", 4.0)]];
        let lines = Line::through(&ticks);
        let one = Line { name: "one", values: vec![Some(1.0), None] };
        assert_eq!(lines, [one, Line { name: "two", values: vec![Some(2.0), Some(4.0)] }]);
        let panel = Panel { title: "a < b", lines };
        let svg = svg("title", &["100".into(), "200".into()], &[panel]);
        assert!(svg.contains(">a &lt; b</text>"), "{svg}");
        assert!(svg.contains("<path d=\"M60.0 195.0\" "), "{svg}");
        assert!(svg.contains("<path d=\"M60.0 150.0L270.0 60.0\" "), "{svg}");
        assert!(svg.contains(">4.00</text>"), "{svg}");
        assert!(svg.contains("stroke-dasharray"), "{svg}");
    }
}
