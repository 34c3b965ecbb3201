//! A picture of one case: a bar for each server, and the range of its rounds.
//!
//! Owns SVG. Must not know what is measured.

use std::fmt::Write;

/// One bar.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) is_ours: bool,
}

/// The figure's name is below the title. It needs no other file, and is readable on light and dark
/// pages.
pub(crate) fn svg(title: &str, figure: &str, bars: &[Bar<'_>]) -> String {
    let longest = bars.iter().map(|bar| bar.most).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + STEP * bars.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-weight=\"bold\">{}</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#666\">{}</text>\n",
        escaped(title),
        escaped(figure)
    );
    for (index, bar) in bars.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = svg.write_str(&row(bar, TOP + STEP * index, longest));
    }
    svg.push_str("</svg>\n");
    svg
}

fn row(bar: &Bar<'_>, top: usize, longest: f64) -> String {
    let length = |figure: f64| LONGEST * figure / longest;
    let (name, middle) = (escaped(bar.name), top + BAR / 2);
    let (least, most) = (LEFT + length(bar.least), LEFT + length(bar.most));
    let color = if bar.is_ours { "#1a7f5a" } else { "#9aa5b1" };
    format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\n\
         <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\n\
         <path d=\"M{least:.1} {middle}H{most:.1}\" stroke=\"#222\" stroke-width=\"2\"/>\n\
         <text x=\"{:.1}\" y=\"{}\">{}</text>\n",
        LEFT - 8.0,
        middle + 5,
        length(bar.median),
        most + 6.0,
        middle + 5,
        figure(bar.median)
    )
}

/// Three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const WIDTH: usize = 720;
const TOP: usize = 52;
const STEP: usize = 28;
const BAR: usize = 18;
const LEFT: f64 = 140.0;
const LONGEST: f64 = 500.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let bar = |name, median, most, is_ours| Bar { name, median, least: 1.0, most, is_ours };
        let svg = svg("a < b", "s", &[bar("one", 2.0, 4.0, true), bar("two", 3.0, 10.0, false)]);
        assert!(svg.contains(">a &lt; b</text>"), "{svg}");
        assert!(svg.contains("width=\"100.0\" height=\"18\" fill=\"#1a7f5a\""), "{svg}");
        assert!(svg.contains("d=\"M190.0 61H340.0\""), "{svg}");
        assert!(svg.contains("d=\"M190.0 89H640.0\""), "{svg}");
        assert!(svg.contains(">3.00</text>"), "{svg}");
    }
}
