"""Scripts that look for faults in a page of a browser."""

FAULTS = """() => {
    const faults = [];
    const light = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(c => c / 255)
            .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = node => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let checked = 0;
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
        if (node.closest('script, noscript, .unseen')) continue;
        const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
        checked += 1;
        if ((a + 0.05) / (b + 0.05) < 4.5) faults.push('contrast: ' + walker.currentNode.data);
    }
    if (checked < 60) faults.push(`only ${checked} texts`);
    for (const field of document.querySelectorAll('input')) if (!field.labels.length) faults.push('label: ' + field.id);
    for (const control of document.querySelectorAll('button, a')) {
        if (!(control.textContent.trim() || control.ariaLabel)) faults.push('name: ' + control.outerHTML);
    }
    for (const plot of document.querySelectorAll('svg')) {
        if (plot.getAttribute('role') !== 'img' || !plot.getAttribute('aria-label')) faults.push('plot: ' + plot.id);
    }
    for (const table of document.querySelectorAll('table')) if (!table.caption?.textContent) faults.push('table');
    for (const region of document.querySelectorAll('section')) {
        const heading = document.getElementById(region.getAttribute('aria-labelledby'));
        if (!heading && !region.closest('noscript')) faults.push('region: ' + region.id);
    }
    const ids = [...document.querySelectorAll('[id]')].map(node => node.id);
    if (new Set(ids).size !== ids.length) faults.push('an id twice');
    const levels = [...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]));
    if (levels.some((level, i) => level > (levels[i - 1] ?? 0) + 1)) faults.push('headings: ' + levels);
    return faults;
}"""
"""A script that returns what a reader of the page, or of its tree of roles, would stumble over. Contrasts are those of
WCAG 2, level AA."""

BEYOND_THE_EDGE = """() => [...document.querySelectorAll('body *')]
    .filter(node => node.checkVisibility() && !node.matches('.unseen, .unseen *'))
    .filter(node => node.getBoundingClientRect().right > innerWidth)
    .map(node => node.outerHTML)"""
"""A script that returns the elements that are wider than the window."""
